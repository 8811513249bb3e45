package stack

import (
	"context"
	"path/filepath"
)

// Alertmanager is a running Alertmanager with deploy/alertmanager/alertmanager.yml.
type Alertmanager struct {
	URL     string
	Address string // host:port, for Prometheus

	process
}

// start starts it and waits until it is ready. It posts to webhook, which takes the place of Slack's; no other
// setting is changed. The binary is .bin/alertmanager, which `make e2e` builds.
func (a *Alertmanager) start(ctx context.Context, s *Site, webhook string) error {
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
	return a.waitPage(ctx, a.URL+"/-/ready")
}
