package main

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// faults are what is wrong with objects that match their schemas: who refers to what is not there, who may do more than the
// restricted profile lets, and what would not be scraped, kept or found.
func faults(objects []object) []string {
	c := &cluster{objects: objects}
	for _, o := range objects {
		if o["kind"] != "Deployment" && o["kind"] != "StatefulSet" && o["kind"] != "DaemonSet" {
			continue
		}
		w := workload{object: o}
		w.namespace, _ = o.at("metadata", "namespace").(string)
		pod, err := convert[corev1.PodTemplateSpec](o.at("spec", "template"))
		if err != nil {
			c.bad(o, "%v", err)
			continue
		}
		w.pod = pod
		c.workloads = append(c.workloads, w)
	}
	for _, w := range c.workloads {
		c.checkPod(w)
		c.checkContainers(w)
		c.checkFiles(w)
		c.checkCollector(w)
		c.checkProgram(w)
	}
	for _, o := range objects {
		c.checkNamespace(o)
		c.checkSelectors(o)
		c.checkScrapes(o)
	}
	return c.wrong
}

func (c *cluster) checkNamespace(o object) {
	if o["kind"] == "Namespace" {
		return
	}
	name, _ := o.at("metadata", "namespace").(string)
	if !slices.ContainsFunc(c.objects, func(n object) bool {
		return n["kind"] == "Namespace" && n.at("metadata", "name") == name && n.at("metadata", "labels", "pod-security.kubernetes.io/enforce") == "restricted"
	}) {
		c.bad(o, "its namespace %q is not there, or enforces no restricted profile", name)
	}
}

// checkPod asks the code by which the API server admits pods.
func (c *cluster) checkPod(w workload) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		c.bad(w.object, "%v", err)
		return
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	if result := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &w.pod.ObjectMeta, &w.pod.Spec)); !result.Allowed {
		c.bad(w.object, "not of the restricted profile: %s", result.ForbiddenDetail())
	}
	if token := w.pod.Spec.AutomountServiceAccountToken; token == nil || *token {
		c.bad(w.object, "has a token of the API server that it does not need")
	}
	selector, err := convert[metav1.LabelSelector](w.at("spec", "selector"))
	if err != nil || !matches(&selector, w.pod.Labels) {
		c.bad(w.object, "does not select its own pods (%v)", err)
	}
	budget := slices.ContainsFunc(c.objects, func(o object) bool {
		selector, err := convert[metav1.LabelSelector](o.at("spec", "selector"))
		return o["kind"] == "PodDisruptionBudget" && o.at("metadata", "namespace") == w.namespace && err == nil && matches(&selector, w.pod.Labels)
	})
	if !budget && w.object["kind"] != "DaemonSet" {
		c.bad(w.object, "a drain may take all of its pods at once")
	}
}

var pinned = regexp.MustCompile(`:[0-9]+\.[0-9]+\.[0-9]+$`)

func (c *cluster) checkContainers(w workload) {
	for _, container := range containers(&w.pod.Spec) {
		bad := func(format string, args ...any) { c.bad(w.object, container.Name+": "+format, args...) }
		if !pinned.MatchString(container.Image) {
			bad("the image %q is not pinned", container.Image)
		}
		resources := container.Resources
		if resources.Requests.Cpu().IsZero() || resources.Requests.Memory().IsZero() || resources.Limits.Memory().IsZero() {
			bad("does not say what it needs of processor and memory, and how much memory at most")
		}
		if security := container.SecurityContext; security == nil || security.ReadOnlyRootFilesystem == nil || !*security.ReadOnlyRootFilesystem {
			bad("may write to its image")
		}
		if container.LivenessProbe == nil || container.ReadinessProbe == nil && container.RestartPolicy == nil {
			bad("is not asked for its health")
		}
		for _, probe := range []*corev1.Probe{container.LivenessProbe, container.ReadinessProbe, container.StartupProbe} {
			if probe != nil && !hasPort([]corev1.Container{container}, probe.HTTPGet.Port.String()) {
				bad("is probed at a port %s that it does not have", probe.HTTPGet.Port.String())
			}
		}
		known := map[string]bool{}
		for _, e := range container.Env {
			for _, used := range regexp.MustCompile(`\$\((\w+)\)`).FindAllStringSubmatch(e.Value, -1) {
				if !known[used[1]] {
					bad("%s uses $(%s), which is not set before it", e.Name, used[1])
				}
			}
			known[e.Name] = true
		}
	}
}

// checkFiles finds every volume, and in it every file that a container is told to read.
func (c *cluster) checkFiles(w workload) {
	volumes := map[string]object{} // the config maps of those that are
	for _, v := range w.pod.Spec.Volumes {
		volumes[v.Name] = nil
		if v.ConfigMap != nil {
			if volumes[v.Name] = c.configMap(w.namespace, v.ConfigMap.Name); volumes[v.Name] == nil {
				c.bad(w.object, "there is no config map %s in its namespace", v.ConfigMap.Name)
			}
		}
		if v.EmptyDir != nil && v.EmptyDir.SizeLimit == nil {
			c.bad(w.object, "the volume %s may fill the node", v.Name)
		}
	}
	claims, _ := w.at("spec", "volumeClaimTemplates").([]any)
	for i := range claims {
		name, _ := w.at("spec", "volumeClaimTemplates", i, "metadata", "name").(string)
		volumes[name] = nil
	}
	for _, container := range containers(&w.pod.Spec) {
		read := map[string]bool{}
		for _, m := range container.VolumeMounts {
			config, found := volumes[m.Name]
			if !found {
				c.bad(w.object, "there is no volume %s", m.Name)
			}
			data, _ := config.at("data").(map[string]any)
			for key := range data {
				read[path.Join(m.MountPath, key)] = true
			}
		}
		for _, arg := range container.Args {
			if file, is := strings.CutPrefix(arg, "--config="); is && !read[file] {
				c.bad(w.object, "%s: there is no %s", container.Name, file)
			}
		}
		for _, from := range container.EnvFrom {
			if c.configMap(w.namespace, from.ConfigMapRef.Name) == nil {
				c.bad(w.object, "%s: there is no config map %s in its namespace", container.Name, from.ConfigMapRef.Name)
			}
		}
	}
}

var gatewayAddress = regexp.MustCompile(`^([a-z]+)-([0-9]+)\.([a-z]+)\.([a-z]+)\.svc:([0-9]+)$`)

// checkCollector: settings that the configuration does not know would do nothing, and some belong together.
func (c *cluster) checkCollector(w workload) {
	for _, container := range containers(&w.pod.Spec) {
		config := c.config(w, container)
		if config == "" {
			continue
		}
		bad := func(format string, args ...any) { c.bad(w.object, container.Name+": "+format, args...) }
		env := c.environment(w, container)
		gateways := 0
		for _, name := range slices.Sorted(maps.Keys(env)) {
			if strings.HasPrefix(name, "COLLECTOR_") && !strings.Contains(config, "${env:"+name+":-") {
				bad("the configuration does not know %s", name)
			}
			if strings.HasPrefix(name, "COLLECTOR_GATEWAY_") {
				gateways++
				c.checkGateway(bad, env[name])
			}
		}
		if named := strings.Count(config, "${env:COLLECTOR_GATEWAY_"); named != gateways {
			bad("%d gateways are named, the configuration has %d", gateways, named)
		}
		limiter, err := strconv.ParseInt(env["COLLECTOR_MEMORY_MIB"], 10, 64)
		if err != nil {
			bad("COLLECTOR_MEMORY_MIB: %v", err)
		}
		if soft, want := env["GOMEMLIMIT"], fmt.Sprintf("%dMiB", (limiter*8+5)/10); soft != want {
			bad("GOMEMLIMIT is %q, and 80 %% of the limiter's limit is %s", soft, want)
		}
		if limit := container.Resources.Limits.Memory().Value() >> 20; limit < limiter*5/4 {
			bad("is killed at %d MiB, and its limiter begins at %d", limit, limiter)
		}
		if exposed := env["COLLECTOR_HEALTH"]; !strings.HasPrefix(exposed, "0.0.0.0:") {
			bad("the kubelet does not reach its health at %q", exposed)
		}
		if storage := env["COLLECTOR_STORAGE"]; !slices.ContainsFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool {
			return strings.HasPrefix(storage, m.MountPath+"/") && !m.ReadOnly
		}) {
			bad("its queues, in %q, are on no volume", storage)
		}
	}
}

// checkGateway finds a gateway by its address: a pod of a StatefulSet, by the name that its service gives it.
func (c *cluster) checkGateway(bad func(string, ...any), address string) {
	m := gatewayAddress.FindStringSubmatch(address)
	if m == nil {
		bad("%q is no gateway's name", address)
		return
	}
	for _, w := range c.workloads {
		n, _ := strconv.Atoi(m[2])
		replicas, _ := w.at("spec", "replicas").(float64)
		if w.object["kind"] == "StatefulSet" && w.at("metadata", "name") == m[1] && w.namespace == m[4] && w.at("spec", "serviceName") == m[3] &&
			n < int(replicas) && hasPort(w.pod.Spec.Containers, m[5]) {
			return
		}
	}
	bad("there is no gateway %s", address)
}

// checkProgram: a program that sends has a name and an identity of its own, and where it sends to is there.
func (c *cluster) checkProgram(w workload) {
	for _, container := range w.pod.Spec.Containers {
		env := map[string]corev1.EnvVar{}
		for _, e := range container.Env {
			env[e.Name] = e
		}
		endpoint, sends := env["OTEL_EXPORTER_OTLP_ENDPOINT"]
		if !sends {
			continue
		}
		if from := env["OTEL_SERVICE_NAME"].ValueFrom; from == nil || from.FieldRef.FieldPath != "metadata.labels['app.kubernetes.io/name']" {
			c.bad(w.object, "its name is not that of its label")
		}
		if from := env["POD_NAME"].ValueFrom; from == nil || from.FieldRef.FieldPath != "metadata.name" ||
			!strings.Contains(env["OTEL_RESOURCE_ATTRIBUTES"].Value, "service.instance.id=$(POD_NAME)") {
			c.bad(w.object, "its replicas share service.instance.id, or have none")
		}
		host, port, _ := strings.Cut(strings.TrimPrefix(endpoint.Value, "http://"), ":")
		if host == "127.0.0.1" {
			if !slices.ContainsFunc(w.pod.Spec.InitContainers, func(s corev1.Container) bool {
				return s.RestartPolicy != nil && strings.Contains(c.config(w, s), "${env:COLLECTOR_OTLP_HTTP:-127.0.0.1:"+port+"}")
			}) {
				c.bad(w.object, "nobody listens at %s", endpoint.Value)
			}
			continue
		}
		if !slices.ContainsFunc(c.objects, func(o object) bool {
			service, err := convert[corev1.Service](map[string]any(o))
			return o["kind"] == "Service" && err == nil && service.Name+"."+service.Namespace+".svc" == host &&
				slices.ContainsFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return strconv.Itoa(int(p.Port)) == port })
		}) {
			c.bad(w.object, "there is no service %s", endpoint.Value)
		}
	}
}

// checkSelectors: who selects pods finds some, and they have the ports that he names.
func (c *cluster) checkSelectors(o object) {
	field := map[any][]any{
		"Service": {"spec", "selector"}, "PodDisruptionBudget": {"spec", "selector"}, "NetworkPolicy": {"spec", "podSelector"}, "PodMonitor": {"spec", "selector"},
	}[o["kind"]]
	if field == nil {
		return
	}
	var selector metav1.LabelSelector
	var err error
	if o["kind"] == "Service" {
		selector.MatchLabels, err = convert[map[string]string](o.at(field...))
	} else {
		selector, err = convert[metav1.LabelSelector](o.at(field...))
	}
	namespace, _ := o.at("metadata", "namespace").(string)
	found := c.pods(namespace, &selector)
	if err != nil || len(found) == 0 {
		c.bad(o, "selects no pod (%v)", err)
	}
	named := map[string]bool{}
	ports, _ := o.at("spec", "ports").([]any)
	for i := range ports {
		named[fmt.Sprint(o.at("spec", "ports", i, "targetPort"))] = true
	}
	ingress, _ := o.at("spec", "ingress").([]any)
	for i := range ingress {
		ports, _ := o.at("spec", "ingress", i, "ports").([]any)
		for j := range ports {
			named[fmt.Sprint(o.at("spec", "ingress", i, "ports", j, "port"))] = true
		}
	}
	endpoints, _ := o.at("spec", "podMetricsEndpoints").([]any)
	for i := range endpoints {
		named[fmt.Sprint(o.at("spec", "podMetricsEndpoints", i, "port"))] = true
	}
	for _, w := range found {
		for _, port := range slices.Sorted(maps.Keys(named)) {
			if !hasPort(containers(&w.pod.Spec), port) {
				c.bad(o, "%s has no port %s", w.id(), port)
			}
		}
	}
}

// breakersPort tells whether a port shows breakers, whose labels have to win.
func breakersPort(port any) bool { return port == "breakers" || port == "http" }

func (c *cluster) checkScrapes(o object) {
	list := map[any]string{"ServiceMonitor": "endpoints", "PodMonitor": "podMetricsEndpoints"}[o["kind"]]
	if list == "" {
		return
	}
	endpoints, _ := o.at("spec", list).([]any)
	for i := range endpoints {
		port := o.at("spec", list, i, "port")
		if breakersPort(port) && (o.at("spec", list, i, "honorLabels") != true || o.at("spec", list, i, "interval") != "15s") {
			c.bad(o, "the page at %v is not scraped every 15 s with honorLabels", port)
		}
		if o["kind"] == "PodMonitor" {
			continue
		}
		selector, err := convert[metav1.LabelSelector](o.at("spec", "selector"))
		if err != nil || !slices.ContainsFunc(c.objects, func(s object) bool {
			service, err := convert[corev1.Service](map[string]any(s))
			return s["kind"] == "Service" && err == nil && service.Namespace == o.at("metadata", "namespace") && matches(&selector, service.Labels) &&
				slices.ContainsFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == port })
		}) {
			c.bad(o, "there is no service with a port %v (%v)", port, err)
		}
	}
}

func TestThePartsFit(t *testing.T) {
	for _, overlay := range overlays {
		for _, fault := range faults(built(t, overlay)) {
			t.Errorf("%s: %s", overlay, fault)
		}
	}
}

// Metrics go one way: what is scraped is not sent as well, and what is sent is not scraped at the program.
func TestMetricsGoOneWay(t *testing.T) {
	for overlay, want := range map[string]string{"agent": "otlp", "sidecar": "otlp", "scrape": "prometheus"} {
		objects := built(t, overlay)
		program, err := convert[corev1.PodTemplateSpec](find(t, objects, "shop/Deployment/shop").at("spec", "template"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range program.Spec.Containers[0].Env {
			if e.Name == "OTEL_METRICS_EXPORTER" && e.Value != want {
				t.Errorf("%s: metrics go by %s, want %s", overlay, e.Value, want)
			}
		}
		scraped := slices.ContainsFunc(objects, func(o object) bool { return o.id() == "shop/PodMonitor/shop" })
		if scraped != (want == "prometheus") {
			t.Errorf("%s: the program is scraped: %t", overlay, scraped)
		}
	}
}

// The gateways take OTLP from whoever has the agents' label, and from nobody else; and those that send to them have it.
func TestWhoSendsToTheGatewaysMay(t *testing.T) {
	for _, overlay := range overlays {
		objects := built(t, overlay)
		c := &cluster{objects: objects}
		allowed := find(t, objects, "otelbreaker/NetworkPolicy/gateway").at("spec", "ingress", 0, "from", 0, "podSelector", "matchLabels")
		senders := 0
		for _, o := range objects {
			pod, err := convert[corev1.PodTemplateSpec](o.at("spec", "template"))
			if err != nil || len(pod.Spec.Containers) == 0 {
				continue
			}
			for _, container := range containers(&pod.Spec) {
				w := workload{object: o, pod: pod}
				w.namespace, _ = o.at("metadata", "namespace").(string)
				if !strings.Contains(c.config(w, container), "${env:COLLECTOR_GATEWAY_") {
					continue
				}
				senders++
				for key, value := range allowed.(map[string]any) {
					if pod.Labels[key] != value {
						t.Errorf("%s: the network policy keeps %s from the gateways", overlay, o.id())
					}
				}
			}
		}
		if senders != 1 {
			t.Errorf("%s: %d workloads send to the gateways", overlay, senders)
		}
	}
}

// Every file is part of what is applied.
func TestEveryFileIsUsed(t *testing.T) {
	err := filepath.WalkDir(".", func(name string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(name) != ".yaml" || entry.Name() == "kustomization.yaml" {
			return err
		}
		content, err := os.ReadFile(filepath.Join(filepath.Dir(name), "kustomization.yaml"))
		if err == nil && !strings.Contains(string(content), entry.Name()) {
			t.Errorf("%s is not in the kustomization of its folder", name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
