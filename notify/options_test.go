package notify_test

import (
	"strings"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/notify"
)

func TestG18_BadOptionsAreRefusedByName(t *testing.T) {
	for _, c := range []struct {
		option notify.Option
		names  []string
	}{
		{nil, []string{"option 0", "nil"}},
		{notify.WithHTTPClient(nil), []string{"WithHTTPClient", "nil"}},
		{notify.WithTimeout(0), []string{"WithTimeout", "0s", "above 0"}},
		{notify.WithTimeout(time.Hour), []string{"WithTimeout", "1h0m0s", "1m0s"}},
		{notify.WithRetryFor(-1), []string{"WithRetryFor", "-1ns", "0 to 1h"}},
		{notify.WithQueue(0), []string{"WithQueue", "0", "1 to 1024"}},
		{notify.WithQueue(1025), []string{"WithQueue", "1025"}},
		{notify.WithInterval(0), []string{"WithInterval", "0s", "1s to 24h"}},
		{notify.WithFlapping(1, time.Minute), []string{"WithFlapping", "1 within", "2 to 100"}},
		{notify.WithFlapping(3, 0), []string{"WithFlapping", "within 0s"}},
		{notify.WithName(""), []string{"WithName", `""`, "1 to 64"}},
		{notify.WithName("a b"), []string{"WithName", `"a b"`}},
		{notify.WithInstance("\xff"), []string{"WithInstance", "UTF-8"}},
		{notify.WithSecret(secret), []string{"WithSecret", "NewSlack"}},
		{notify.WithAPI("https://slack.example/api"), []string{"WithAPI", "NewSlack"}},
		{notify.WithDashboard(""), []string{"WithDashboard", "allowed is an http or https URL"}},
		{notify.WithDashboard("javascript:alert(1)"), []string{"WithDashboard"}},
		{notify.WithDashboard("data:text/html,x"), []string{"WithDashboard"}},
		{notify.WithDashboard("/d/x"), []string{"WithDashboard"}},
		{notify.WithDashboard("https://user:password@g.example/"), []string{"WithDashboard", "user info"}},
		{notify.WithRunbook("https://{service}.example/"), []string{"WithRunbook", "host"}},
		{notify.WithRunbook("{service}://a.example/"), []string{"WithRunbook"}},
		{notify.WithRunbook("https://a.example/{host}"), []string{"WithRunbook", "{host}"}},
		{notify.WithTrace("https://a.example/" + strings.Repeat("a", 1500)), []string{"WithTrace", "1500"}},
	} {
		s, err := notify.NewSlack(address, c.option)
		if err == nil || s != nil {
			t.Errorf("accepted, though %v", c.names)
			continue
		}
		for _, name := range c.names {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("%v does not say %q", err, name)
			}
		}
		silent(t, "the error", err.Error())
	}
	if _, err := notify.NewWebhook(address, notify.WithSecret("short")); err == nil || !strings.Contains(err.Error(), "16 or more") || strings.Contains(err.Error(), "short") {
		t.Errorf("a short secret: %v", err)
	}
	for _, o := range []notify.Option{notify.WithInterval(time.Minute), notify.WithFlapping(3, time.Minute), notify.WithAPI(address)} {
		if _, err := notify.NewWebhook(address, o); err == nil || !strings.Contains(err.Error(), "no option of NewWebhook") {
			t.Errorf("an option of Slack: %v", err)
		}
	}
	if _, err := notify.NewSlackBot(token, "<!channel>"); err == nil || !strings.Contains(err.Error(), "channel") {
		t.Errorf("a bad channel: %v", err)
	}
	_, err := notify.NewSlack("", notify.WithQueue(-1), notify.WithTimeout(-1))
	for _, name := range []string{"address", "WithQueue", "WithTimeout"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not say %s", err, name)
		}
	}
}

func TestAnAddressWithoutTLS(t *testing.T) {
	for _, ok := range []string{"http://127.0.0.1:1/x", "http://[::1]/x", "http://localhost/x", "https://hooks.example/x"} {
		if _, err := notify.NewSlack(ok); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
	if _, err := notify.NewSlack("http://127.0.0.1.evil.example/x"); err == nil {
		t.Error("a host that only looks like loopback is accepted")
	}
	if _, err := notify.NewSlack("http://proxy.internal/x", notify.WithInsecureHTTP()); err != nil {
		t.Error(err)
	}
}
