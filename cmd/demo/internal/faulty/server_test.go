package faulty

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestServer_Faults looks at each fault from the other end of a socket.
func TestServer_Faults(t *testing.T) {
	const late, patience = 300 * time.Millisecond, 150 * time.Millisecond
	up, err := Start(t.Context(), "payments", late, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Close)
	fetch := func(timeout time.Duration) (status int, body string, err error) {
		c := &http.Client{Timeout: timeout}
		defer c.CloseIdleConnections()
		res, err := c.Get(up.URL())
		if err != nil {
			return 0, "", err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		return res.StatusCode, string(b), err
	}
	for _, c := range []struct {
		fault   Fault
		timeout time.Duration
		want    func(status int, body string, err error) bool
	}{
		{None, 0, func(status int, body string, err error) bool { return err == nil && status == 200 && body != "" }},
		{Errors, 0, func(status int, _ string, err error) bool { return err == nil && status == 500 }},
		{Latency, patience, func(_ int, _ string, err error) bool { return os.IsTimeout(err) }},
		{Latency, 0, func(status int, body string, err error) bool { return err == nil && status == 200 && body != "" }},
		{Hang, 2 * late, func(_ int, _ string, err error) bool { return os.IsTimeout(err) }},
		{Refuse, 0, func(_ int, _ string, err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }},
		{Refuse, 0, func(_ int, _ string, err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }},
		{Cut, 0, func(status int, body string, err error) bool {
			return status == 200 && body != "" && errors.Is(err, io.ErrUnexpectedEOF)
		}},
		{None, 0, func(status int, _ string, err error) bool { return err == nil && status == 200 }},
	} {
		if err := up.Set(t.Context(), c.fault); err != nil {
			t.Fatal(err)
		}
		if got := up.Current(); got != c.fault {
			t.Errorf("it is at %s, want %s", got, c.fault)
		}
		before := time.Now()
		status, body, err := fetch(c.timeout)
		if !c.want(status, body, err) {
			t.Errorf("%s, with a timeout of %v: status %d, body %q, error %v", c.fault, c.timeout, status, body, err)
		}
		if took := time.Since(before); c.fault == Latency && c.timeout == 0 && took < late {
			t.Errorf("%s took %v, want at least %v", c.fault, took, late)
		}
	}
}

func TestServer_RefusingCutsConnectionsThatAreOpen(t *testing.T) {
	up, err := Start(t.Context(), "payments", time.Second, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Close)
	if err := up.Set(t.Context(), Hang); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		res, err := http.Get(up.URL())
		if err == nil {
			res.Body.Close()
		}
		failed <- err
	}()
	// Refuse until the request, wherever it was on its way, has failed.
	for {
		if err := up.Set(t.Context(), Refuse); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-failed:
			if err == nil {
				t.Error("the hanging call was answered")
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestServer_AfterItsEnd(t *testing.T) {
	up, err := Start(t.Context(), "payments", time.Second, nil)
	if err != nil {
		t.Fatal(err)
	}
	up.Close()
	up.Close()
	if err := up.Set(t.Context(), None); err == nil {
		t.Error("it came back to life")
	}
}

func TestParse(t *testing.T) {
	for _, f := range All {
		if got, err := Parse(string(f.Name)); got != f.Name || err != nil {
			t.Errorf("%s is %s, %v", f.Name, got, err)
		}
	}
	_, err := Parse("fire")
	if err == nil || !strings.Contains(err.Error(), `"fire"`) || !strings.Contains(err.Error(), "none, errors, brownout, latency, hang, refuse, cut") {
		t.Errorf("the error is %v", err)
	}
}

func TestServer_BrownoutFailsThreeOfFiveAndTwoInARowAtMost(t *testing.T) {
	up, err := Start(t.Context(), "payments", time.Second, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Close)
	if err := up.Set(t.Context(), Brownout); err != nil {
		t.Fatal(err)
	}
	var told string
	for range 10 {
		res, err := http.Get(up.URL())
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		told += map[int]string{200: "S", 500: "F"}[res.StatusCode]
	}
	if strings.Count(told, "F") != 6 || len(told) != 10 || strings.Contains(told, "FFF") {
		t.Errorf("ten answers are %s", told)
	}
}

func TestProxy(t *testing.T) {
	var got *http.Request
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch got = r; r.URL.Path {
		case "/here":
			w.Header().Set("Location", "//"+r.Host+"//there") // two slashes, which are no host
			w.WriteHeader(http.StatusFound)
		case "/away":
			http.Redirect(w, r, "http://away.example/", http.StatusFound)
		}
		_, _ = io.WriteString(w, "behind")
	}))
	defer behind.Close()
	target, err := url.Parse(behind.URL)
	if err != nil {
		t.Fatal(err)
	}
	up, err := Start(t.Context(), "payments", time.Second, Proxy(target, &http.Transport{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Close)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	get := func(path string) *http.Response {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, strings.Replace(up.URL(), "://", "://user:word@", 1)+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res
	}
	get("/a%2Fb?x=1;y=2&z")
	if user, word, _ := got.BasicAuth(); got.RequestURI != "/a%2Fb?x=1;y=2&z" || got.Host != target.Host || user != "user" || word != "word" {
		t.Errorf("the server got %s, host %s, user %s:%s", got.RequestURI, got.Host, user, word)
	}
	if to := get("/here").Header.Get("Location"); to != up.URL()+"//there" {
		t.Errorf("redirected to %s, which is not behind the proxy", to)
	}
	if to := get("/away").Header.Get("Location"); to != "http://away.example/" {
		t.Errorf("redirected to %s", to)
	}
	if err := up.Set(t.Context(), Errors); err != nil {
		t.Fatal(err)
	}
	if res := get("/"); res.StatusCode != http.StatusInternalServerError {
		t.Errorf("with the fault it answers %s", res.Status)
	}
	if err := up.Set(t.Context(), None); err != nil {
		t.Fatal(err)
	}
	behind.Close()
	if res := get("/"); res.StatusCode != http.StatusBadGateway {
		t.Errorf("with nobody there it answers %s", res.Status)
	}
}
