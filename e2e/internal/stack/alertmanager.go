package stack

import (
	"path/filepath"
	"testing"
)

// Alertmanager is a running Alertmanager with deploy/alertmanager/alertmanager.yml.
type Alertmanager struct {
	URL     string
	Address string // host:port, for Prometheus

	process
}

// StartAlertmanager starts an Alertmanager and waits until it is ready. It posts to webhook, which takes the place of
// Slack's; no other setting is changed, but what rewrite (nil: nothing) makes of the files of deploy/alertmanager. It is
// stopped when the test ends, and its output is shown if the test has failed. The binary is .bin/alertmanager, which
// `make e2e` builds.
func StartAlertmanager(t testing.TB, webhook string, rewrite func(name string, content []byte) ([]byte, error)) *Alertmanager {
	t.Helper()
	s := siteOf(t)
	s.Rewrite = rewrite
	a, err := again(func() (*Alertmanager, error) {
		a := &Alertmanager{}
		return a, a.start(s, webhook)
	})
	if err != nil {
		t.Fatalf("starting Alertmanager: %v", err)
	}
	a.stopAtEnd(t, "Alertmanager")
	return a
}

func (a *Alertmanager) start(s *Site, webhook string) error {
	binary, err := s.binary("alertmanager")
	if err != nil {
		return err
	}
	addr, err := s.addresses("127.0.0.1:9093")
	if err != nil {
		return err
	}
	dir, err := s.folder("alertmanager")
	if err != nil {
		return err
	}
	if err := s.copyFolder("alertmanager", dir); err != nil {
		return err
	}
	if err := writeSecrets(dir, webhook); err != nil {
		return err
	}
	a.Address, a.URL = addr[0], "http://"+addr[0]
	if err := a.run(s, nil, binary,
		"--config.file="+filepath.Join(dir, "alertmanager.yml"),
		"--storage.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr[0],
		"--cluster.listen-address=", // alone
		"--log.level=warn",
	); err != nil {
		return err
	}
	return a.waitPage(s.Life, a.URL+"/-/ready")
}
