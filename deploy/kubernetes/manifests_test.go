package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// overlays are what is applied.
var overlays = []string{"agent", "sidecar", "scrape"}

// kubernetesVersion is that of the schemas: the newest that the validator carries, and the least that the manifests are for
// is the one before (sidecars).
const kubernetesVersion = "1.30"

// object is a resource as it is sent to the API.
type object map[string]any

func (o object) id() string {
	id := fmt.Sprintf("%v/%v", o["kind"], o.at("metadata", "name"))
	if namespace, is := o.at("metadata", "namespace").(string); is {
		return namespace + "/" + id
	}
	return id
}

// at is what stands at a path of keys and indexes, or nil.
func (o object) at(path ...any) any {
	var value any = map[string]any(o)
	for _, step := range path {
		switch v := value.(type) {
		case map[string]any:
			key, _ := step.(string)
			value = v[key]
		case []any:
			i, is := step.(int)
			if !is || i >= len(v) {
				return nil
			}
			value = v[i]
		default:
			return nil
		}
	}
	return value
}

// built is an overlay as kustomize makes it, by its own library and with the restrictions of `kubectl apply -k`.
func built(t *testing.T, overlay string) []object {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join("overlays", overlay))
	if err != nil {
		t.Fatal(err)
	}
	var objects []object
	for _, r := range resources.Resources() {
		content, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		var o object
		if err := yaml.UnmarshalStrict(content, &o); err != nil {
			t.Fatalf("%s: %v", r.CurId(), err)
		}
		objects = append(objects, o)
	}
	return objects
}

// tool gives the path of a program in .bin/.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", ".bin", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s is not there: `make kubernetes` builds it from its pinned module, and then runs these tests", path)
	} else if err != nil {
		t.Fatal(err)
	}
	return path
}

// operatorsResources is a folder with the definitions of the operator's resources that we use, of its module.
func operatorsResources(t *testing.T) string {
	t.Helper()
	command := exec.Command("go", "mod", "download", "-json", "github.com/prometheus-operator/prometheus-operator")
	command.Dir = filepath.Join("..", "..", "tools", "prometheus-operator")
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, kind := range []string{"prometheusrules", "servicemonitors", "podmonitors"} {
		name := "monitoring.coreos.com_" + kind + ".yaml"
		content, err := os.ReadFile(filepath.Join(module.Dir, "example", "prometheus-operator-crd", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// refused are the objects, by their place in the list, that do not match the schemas of Kubernetes or of the operator, and
// why: by kubectl-validate, which goes by the API server's own code.
func refused(t *testing.T, objects []object) map[int]string {
	t.Helper()
	dir := t.TempDir()
	var names []string
	for i, o := range objects {
		content, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, filepath.Join(dir, fmt.Sprintf("%03d.yaml", i)))
		if err := os.WriteFile(names[i], content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.Command(tool(t, "kubectl-validate"), dir, "--version", kubernetesVersion, "--local-crds", operatorsResources(t), "--output", "json")
	command.Env = append(os.Environ(), "KUBECONFIG="+os.DevNull) // no cluster is asked
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output() // fails where an object does
	type verdict struct {
		Status, Message string
		Details         json.RawMessage
	}
	var verdicts map[string][]verdict
	if jsonErr := json.Unmarshal(out, &verdicts); jsonErr != nil {
		t.Fatalf("%v, %v\n%s\n%s", err, jsonErr, out, stderr.String())
	}
	found := make(map[int]string)
	for i, name := range names {
		of := verdicts[name]
		if len(of) != 1 {
			t.Fatalf("%s: %d verdicts on it, in\n%s", objects[i].id(), len(of), out)
		}
		if of[0].Status != "Success" {
			found[i] = of[0].Message + " " + string(of[0].Details)
		}
	}
	return found
}

func TestTheManifestsMatchTheSchemas(t *testing.T) {
	var objects []object
	for _, overlay := range overlays {
		objects = append(objects, built(t, overlay)...)
	}
	if len(objects) < 60 {
		t.Errorf("only %d objects", len(objects))
	}
	for i, why := range refused(t, objects) {
		t.Errorf("%s: %s", objects[i].id(), why)
	}
}

func TestWhatIsGeneratedIsUpToDate(t *testing.T) {
	files, err := generated(".")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what is made of the files in deploy/: `go run -C deploy/kubernetes .` writes it (%v)", name, err)
		}
	}
}

// What arrives as a PrometheusRule is the rule file, to the last annotation.
func TestTheRulesAreThoseOfTheFiles(t *testing.T) {
	for _, overlay := range overlays {
		objects := built(t, overlay)
		for name, file := range map[string]string{
			"circuit-breaker-alerts": "circuit_breaker_alerts.yml", "circuit-breaker-recording": "circuit_breaker_recording.yml",
		} {
			content, err := os.ReadFile(filepath.Join("..", "prometheus", file))
			if err != nil {
				t.Fatal(err)
			}
			var want map[string]any
			if err := yaml.Unmarshal(content, &want); err != nil {
				t.Fatal(err)
			}
			if got := find(t, objects, "otelbreaker/PrometheusRule/"+name).at("spec"); !reflect.DeepEqual(got, any(want)) {
				t.Errorf("%s: the rules of %s are not those of %s", overlay, name, file)
			}
		}
	}
}

func TestTheDashboardsAreAllThere(t *testing.T) {
	files, err := filepath.Glob("../grafana/dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	objects := built(t, "agent")
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		o := find(t, objects, "otelbreaker/ConfigMap/dashboard-"+name)
		if o.at("data", filepath.Base(file)) != string(content) {
			t.Errorf("the config map of %s has another dashboard", name)
		}
		if o.at("metadata", "labels", "grafana_dashboard") != "1" {
			t.Errorf("the sidecar does not find the dashboard %s", name)
		}
	}
}

func find(t *testing.T, objects []object, id string) object {
	t.Helper()
	i := slices.IndexFunc(objects, func(o object) bool { return o.id() == id })
	if i < 0 {
		t.Fatalf("there is no %s", id)
	}
	return objects[i]
}
