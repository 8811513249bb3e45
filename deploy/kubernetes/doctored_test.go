package main

import (
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// doctored is a change for the worse: what stands at a path (keys and indexes, by slashes) of an object becomes another
// value, or is gone.
type doctored struct {
	overlay, id, path string
	value             any
	want              string // in what is said of it
}

// gone is the value of what is taken away.
type gone struct{}

// apply gives the objects of the overlay with the change, and the one that has it.
func (d doctored) apply(t *testing.T) (objects []object, changed int) {
	t.Helper()
	changed = -1
	for i, o := range built(t, d.overlay) {
		if o.id() == d.id {
			changed = i
			d.change(t, o)
		}
		objects = append(objects, o)
	}
	if changed < 0 {
		t.Fatalf("%s has no %s", d.overlay, d.id)
	}
	return objects, changed
}

func (d doctored) change(t *testing.T, o object) {
	t.Helper()
	steps := strings.Split(strings.ReplaceAll(d.path, "~", "\x00"), "/")
	for i := range steps {
		steps[i] = strings.ReplaceAll(steps[i], "\x00", "/")
	}
	var at any = map[string]any(o)
	for _, step := range steps[:len(steps)-1] {
		switch v := at.(type) {
		case map[string]any:
			at = v[step]
		case []any:
			n, err := strconv.Atoi(step)
			if err != nil || n >= len(v) {
				t.Fatalf("%s of %s: there is no %s", d.path, d.id, step)
			}
			at = v[n]
		}
	}
	last := steps[len(steps)-1]
	if list, is := at.([]any); is {
		n, err := strconv.Atoi(last)
		if err != nil || n >= len(list) {
			t.Fatalf("%s of %s: there is no %s", d.path, d.id, last)
		}
		list[n] = d.value
		return
	}
	keys, is := at.(map[string]any)
	if !is {
		t.Fatalf("%s of %s leads nowhere", d.path, d.id)
	}
	if _, is := d.value.(gone); !is {
		keys[last] = d.value
		return
	}
	if _, found := keys[last]; !found {
		t.Fatalf("%s of %s: there is no %s", d.path, d.id, last)
	}
	delete(keys, last)
}

const (
	gatewaySet     = "otelbreaker/StatefulSet/gateway"
	agentSet       = "otelbreaker/DaemonSet/agent"
	program        = "shop/Deployment/shop"
	gatewayMonitor = "otelbreaker/ServiceMonitor/gateway"
	container      = "spec/template/spec/containers/0/"
	sidecar        = "spec/template/spec/initContainers/0/"
)

// Manifests that the schemas do not let through: names that are misspelt, values of another type or not of the list, and
// what is missing. They are refused, each for what is wrong with it.
func TestDoctoredManifestsAreRefused(t *testing.T) {
	list := []doctored{
		{"agent", gatewaySet, "spec/replica", 2.0, "replica"},
		{"agent", gatewaySet, "spec/selector", gone{}, "selector"},
		{"agent", gatewaySet, "spec/replicas", "two", "replicas"},
		{"agent", gatewaySet, "spec/podManagementPolicy", 1.0, "podManagementPolicy"},
		{"agent", gatewaySet, container + "readinesProbe", map[string]any{}, "readinesProbe"},
		{"agent", gatewaySet, "spec/template", gone{}, "template"},
		{"agent", gatewaySet, container + "securityContext/readOnlyRootFileSystem", true, "readOnlyRootFileSystem"},
		{"agent", gatewaySet, "spec/template/spec/volumes/0/configmap", map[string]any{"name": "gateway"}, "configmap"},
		{"agent", agentSet, "spec/template/spec/volumes/1/emptyDir/sizeLimit", true, "sizeLimit"},
		{"agent", agentSet, "apiVersion", "extensions/v1beta1", ""},
		{"agent", "otelbreaker/Service/agent", "spec/ports/0/port", "otlp", "port"},
		{"agent", "otelbreaker/NetworkPolicy/gateway", "spec/ingress/0/from/0/namespaceSelector", "monitoring", "namespaceSelector"},
		{"agent", "otelbreaker/PodDisruptionBudget/gateway", "spec/maxUnavailible", 1.0, "maxUnavailible"},
		{"agent", "otelbreaker/ConfigMap/dashboard-fleet", "data/fleet.json", 1.0, "fleet.json"},
		{"agent", gatewayMonitor, "spec/endpoints/0/honorlabels", true, "honorlabels"},
		{"agent", gatewayMonitor, "spec/endpoints/0/interval", "15 seconds", "interval"},
		{"agent", gatewayMonitor, "spec/endpoints/0/relabelings/0/action", "drop-label", "action"},
		{"agent", gatewayMonitor, "spec/selector", gone{}, "selector"},
		{"scrape", "shop/PodMonitor/shop", "spec/podMetricsEndpoints/0/port", 8080.0, "port"},
		{"agent", "otelbreaker/PrometheusRule/circuit-breaker-alerts", "spec/groups/0/rules/0/expr", gone{}, "expr"},
		{"agent", "otelbreaker/PrometheusRule/circuit-breaker-alerts", "spec/groups/0/interval", "often", "interval"},
		{"sidecar", program, sidecar + "restartpolicy", "Always", "restartpolicy"},
	}
	var objects []object
	for _, d := range list {
		all, changed := d.apply(t)
		objects = append(objects, all[changed])
	}
	found := refused(t, objects)
	for i, d := range list {
		if why, is := found[i]; !is || !strings.Contains(why, d.want) {
			t.Errorf("%s with %s = %v: refused: %t: %s", d.id, d.path, d.value, is, why)
		}
	}
}

// What matches the schemas and would not work, or be more than it should: each is told of.
func TestDoctoredPartsDoNotFit(t *testing.T) {
	list := []doctored{
		// Who may do what.
		{"agent", gatewaySet, "spec/template/spec/securityContext/runAsNonRoot", false, "restricted profile"},
		{"agent", gatewaySet, "spec/template/spec/securityContext/seccompProfile", gone{}, "restricted profile"},
		{"agent", gatewaySet, container + "securityContext/capabilities", gone{}, "restricted profile"},
		{"agent", gatewaySet, container + "securityContext/allowPrivilegeEscalation", gone{}, "restricted profile"},
		{"agent", gatewaySet, container + "securityContext/readOnlyRootFilesystem", gone{}, "may write to its image"},
		{"agent", agentSet, container + "ports/0/hostPort", 4317.0, "restricted profile"},
		{"agent", agentSet, "spec/template/spec/volumes/1", map[string]any{"name": "queues", "hostPath": map[string]any{"path": "/var/lib/otelcol"}}, "restricted profile"},
		{"sidecar", program, sidecar + "securityContext/capabilities/drop", []any{}, "restricted profile"},
		{"agent", agentSet, "spec/template/spec/automountServiceAccountToken", true, "token"},
		{"agent", "Namespace/otelbreaker", "metadata/labels/pod-security.kubernetes.io~enforce", "baseline", "enforces no restricted profile"},
		{"agent", "otelbreaker/Service/agent", "metadata/namespace", "default", "enforces no restricted profile"},
		// What containers need.
		{"agent", gatewaySet, container + "image", "otel/opentelemetry-collector-contrib:latest", "not pinned"},
		{"agent", gatewaySet, container + "resources/limits", gone{}, "how much memory at most"},
		{"agent", agentSet, container + "resources/requests/cpu", gone{}, "how much memory at most"},
		{"agent", gatewaySet, container + "livenessProbe", gone{}, "asked for its health"},
		{"agent", agentSet, container + "readinessProbe", gone{}, "asked for its health"},
		{"agent", gatewaySet, container + "livenessProbe/httpGet/port", "helth", "probed at a port"},
		{"agent", agentSet, "spec/template/spec/volumes/1/emptyDir", map[string]any{}, "may fill the node"},
		// What refers to what.
		{"agent", gatewaySet, "spec/template/metadata/labels/app.kubernetes.io~name", "gate", "selects no pod"},
		{"agent", gatewaySet, container + "args/0", "--config=/etc/otelcol/collector.yaml", "there is no /etc/otelcol/collector.yaml"},
		{"agent", gatewaySet, "spec/template/spec/volumes/0/configMap/name", "gateways", "there is no config map"},
		{"agent", gatewaySet, container + "envFrom/0/configMapRef/name", "backends", "there is no config map"},
		{"agent", gatewaySet, container + "volumeMounts/1/name", "queue", "there is no volume"},
		{"sidecar", "shop/ConfigMap/" + configMapOf(t, "sidecar", program), "metadata/namespace", "otelbreaker", "there is no config map"},
		{"agent", "otelbreaker/Service/agent", "spec/ports/1/targetPort", "otlp", "has no port otlp"},
		{"agent", "otelbreaker/Service/gateway-metrics", "spec/ports/0/name", "metrics", "there is no service with a port breakers"},
		{"agent", "otelbreaker/PodDisruptionBudget/gateway", "spec/selector/matchLabels/app.kubernetes.io~name", "gateway", "a drain may take all"},
		{"agent", "otelbreaker/NetworkPolicy/gateway", "spec/ingress/1/ports/0/port", "prometheus", "has no port prometheus"},
		{"scrape", "shop/PodMonitor/shop", "spec/podMetricsEndpoints/0/port", "metrics", "has no port metrics"},
		// Labels and ways.
		{"agent", gatewayMonitor, "spec/endpoints/0/honorLabels", gone{}, "honorLabels"},
		{"scrape", "shop/PodMonitor/shop", "spec/podMetricsEndpoints/0/honorLabels", false, "honorLabels"},
		{"agent", gatewayMonitor, "spec/endpoints/0/interval", "60s", "every 15 s"},
		{"agent", gatewayMonitor, "spec/selector/matchLabels/app.kubernetes.io~component", "page", "there is no service"},
		// Collectors.
		{"agent", gatewaySet, container + "env/5/name", "COLLECTOR_STORE", "does not know COLLECTOR_STORE"},
		{"agent", gatewaySet, container + "env/5/value", "/tmp/queues", "are on no volume"},
		{"agent", gatewaySet, container + "env/3/value", "127.0.0.1:13133", "does not reach its health"},
		{"agent", gatewaySet, container + "env/8/value", "512MiB", "80 %"},
		{"agent", gatewaySet, container + "resources/limits/memory", "512Mi", "is killed at 512"},
		{"agent", gatewaySet, "spec/replicas", 1.0, "there is no gateway gateway-1.gateway.otelbreaker.svc:4317"},
		{"agent", gatewaySet, "spec/serviceName", "gateway-metrics", "there is no gateway"},
		{"agent", agentSet, container + "env/5/value", "gateway:4317", "no gateway's name"},
		{"sidecar", program, sidecar + "env/1", map[string]any{"name": "COLLECTOR_QUEUE_BYTES", "value": "1"}, "1 gateways are named"},
		// Programs.
		{"agent", program, container + "env/0/valueFrom", map[string]any{"fieldRef": map[string]any{"fieldPath": "metadata.namespace"}}, "not that of its label"},
		{"agent", program, container + "env/4/value", "k8s.pod.name=$(POD_NAME)", "share service.instance.id"},
		{"agent", program, container + "env/4/value", "service.instance.id=$(POD_NAME),k8s.pod.uid=$(POD_UID)", "$(POD_UID)"},
		{"agent", program, container + "env/5/value", "http://agent.monitoring.svc:4318", "there is no service"},
		{"sidecar", program, container + "env/0/value", "http://127.0.0.1:4319", "nobody listens"},
	}
	for _, d := range list {
		objects, _ := d.apply(t)
		all := strings.Join(faults(objects), "\n")
		if !strings.Contains(all, d.want) {
			t.Errorf("%s: %s with %s = %v: not told of %q, but:\n%s", d.overlay, d.id, d.path, d.value, d.want, all)
		}
	}
}

// configMapOf is the name of the first config map among the volumes of a workload: it ends in a hash of the content.
func configMapOf(t *testing.T, overlay, id string) string {
	t.Helper()
	o := find(t, built(t, overlay), id)
	name, is := o.at("spec", "template", "spec", "volumes", 0, "configMap", "name").(string)
	if !is {
		content, _ := yaml.Marshal(o)
		t.Fatalf("no config map in\n%s", content)
	}
	return name
}
