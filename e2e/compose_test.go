package e2e

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
)

// compose loads deploy/compose.yaml as Docker Compose does: interpolated, checked against the specification's schema,
// and normalized. There is no Docker here: that the images start so is not tested.
func compose(t *testing.T, env ...string) (project *types.Project, deploy string) {
	t.Helper()
	root, err := stack.FindRoot()
	if err != nil {
		t.Fatal(err)
	}
	deploy = filepath.Join(root, "deploy")
	options, err := cli.NewProjectOptions([]string{filepath.Join(deploy, "compose.yaml")},
		cli.WithWorkingDirectory(deploy), cli.WithEnv(env), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err = options.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return project, deploy
}

// TestDeploy_Compose: every image is pinned, every port is on loopback unless asked otherwise, every file that is
// mounted is there and read-only, every secret is a file, and whoever can be asked for its health is.
func TestDeploy_Compose(t *testing.T) {
	project, deploy := compose(t)
	pinned := regexp.MustCompile(`^[a-z/-]+:v?[0-9]+\.[0-9]+\.[0-9]+$`)
	want := []string{"alertmanager", "collector", "collector-storage", "grafana", "jaeger", "loki", "prometheus"}
	if names := project.ServiceNames(); !slices.Equal(names, want) {
		t.Errorf("the services are %v, want %v", names, want)
	}
	published := map[string]string{}
	for name, service := range project.Services {
		if !pinned.MatchString(service.Image) {
			t.Errorf("%s: the image %q is not pinned", name, service.Image)
		}
		for _, port := range service.Ports {
			if address, err := netip.ParseAddr(port.HostIP); err != nil || !address.IsLoopback() {
				t.Errorf("%s: port %s is published on %q", name, port.Published, port.HostIP)
			}
			if other, taken := published[port.Published]; taken {
				t.Errorf("port %s is published by %s and %s", port.Published, name, other)
			}
			published[port.Published] = name
		}
		for _, volume := range service.Volumes {
			if volume.Type != types.VolumeTypeBind {
				continue
			}
			if !volume.ReadOnly || !strings.HasPrefix(volume.Source, deploy+"/") {
				t.Errorf("%s: %s is mounted so that it can be written, or is not of deploy/", name, volume.Source)
			}
			if _, err := os.Stat(volume.Source); err != nil {
				t.Errorf("%s: what is mounted is not there: %v", name, err)
			}
		}
		if service.HealthCheck == nil && name != "collector" && name != "collector-storage" {
			t.Errorf("%s is not asked for its health", name)
		}
		for key, value := range service.Environment {
			if secret := regexp.MustCompile(`PASSWORD|TOKEN|SECRET|WEBHOOK`); secret.MatchString(key) && !strings.HasSuffix(key, "_FILE") {
				t.Errorf("%s: the secret %s is in the environment: %v", name, key, value)
			}
		}
	}
	for name, secret := range project.Secrets {
		if !strings.HasPrefix(secret.File, deploy+"/secrets/") {
			t.Errorf("the secret %s is in %q", name, secret.File)
		}
	}
	if project, _ := compose(t, "STACK_ADDRESS=10.0.0.1"); project.Services["loki"].Ports[0].HostIP != "10.0.0.1" {
		t.Error("STACK_ADDRESS does not move the ports")
	}
}

// TestDeploy_ComposeFits: what the services call each other, and where they look for files, is what the files say.
func TestDeploy_ComposeFits(t *testing.T) {
	project, deploy := compose(t)
	mounted := func(service string) map[string]string {
		targets := map[string]string{}
		s := project.Services[service]
		for _, v := range s.Volumes {
			targets[v.Target] = v.Source
		}
		for _, c := range s.Configs {
			targets[c.Target] = project.Configs[c.Source].Content
		}
		for _, secret := range s.Secrets {
			targets[secret.Target] = project.Secrets[secret.Source].File
		}
		return targets
	}
	read := func(name string) string {
		content, err := os.ReadFile(filepath.Join(deploy, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	// The files that Prometheus' configuration names.
	prometheus := mounted("prometheus")
	for _, rules := range regexp.MustCompile(`(?m)^  - (circuit_breaker_\w+\.yml)$`).FindAllStringSubmatch(read("prometheus/prometheus.yml"), -1) {
		if prometheus["/etc/prometheus/"+rules[1]] == "" {
			t.Errorf("Prometheus has no %s", rules[1])
		}
	}
	for _, targets := range []string{"services", "collectors", "alertmanagers"} {
		if prometheus["/etc/prometheus/targets/"+targets+".yml"] == "" {
			t.Errorf("Prometheus has no targets/%s.yml", targets)
		}
	}
	// The file with the webhook's address, by the path that Alertmanager's configuration has.
	path := regexp.MustCompile(`(?m)^\s*slack_api_url_file: (\S+)`).FindStringSubmatch(read("alertmanager/alertmanager.yml"))
	if path == nil || mounted("alertmanager")[path[1]] == "" {
		t.Errorf("the webhook is not where alertmanager.yml looks for it: %v", path)
	}
	// Settings that the files do not know would do nothing.
	for service, file := range map[string]string{
		"collector": "otel-collector.yaml", "loki": "loki/loki.yaml", "jaeger": "jaeger/jaeger.yaml",
		"grafana": "grafana/provisioning/datasources/otelbreaker.yaml",
	} {
		content := read(file)
		for key, value := range project.Services[service].Environment {
			if ours := regexp.MustCompile(`^(COLLECTOR|LOKI|JAEGER)_|_URL$`); ours.MatchString(key) && !strings.Contains(content, key) {
				t.Errorf("%s: %s does not know %s", service, file, key)
			}
			if value == nil {
				continue
			}
			// Who is called by name is there.
			if host := regexp.MustCompile(`^https?://([a-z-]+):`).FindStringSubmatch(*value); host != nil && project.Services[host[1]].Name == "" {
				t.Errorf("%s: %s names %s, which is no service", service, key, host[1])
			}
		}
	}
}
