package faulty

import (
	"errors"
	"io"
	"net/http"
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
