package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/otelbreaker/otelbreaker/internal/document"
)

// A scenario runs some blocks of commands as they stand, but for addresses and what its comment says.
type scenario struct {
	name   string
	blocks []string // as document.Block.Name begins
	run    func(*testing.T, []document.Block)
}

var scenarios = []scenario{
	{"the quick start", []string{
		"README.md: go get ",
		"docs/quickstart.md: go get github.com/otelbreaker/otelbreaker\n",
		"docs/quickstart.md: go get github.com/otelbreaker/otelbreaker/contrib/grpcbreaker",
		"docs/quickstart.md: go get github.com/otelbreaker/otelbreaker/contrib/gobreaker",
		"docs/quickstart.md: go get github.com/otelbreaker/otelbreaker/contrib/failsafe",
		"docs/quickstart.md: go mod tidy",
		"docs/quickstart.md: curl ",
		"docs/deployment.md: export OTEL_EXPORTER_OTLP_ENDPOINT",
		"contrib/grpcbreaker/README.md: go get ",
		"contrib/gobreaker/README.md: go get ",
		"contrib/failsafe/README.md: go get ",
	}, quickStart},
	{"operations", []string{
		"docs/operations.md: umask ",
		"docs/operations.md: go install ",
		"docs/configuration.md: otelbreaker reconfigure ",
		"docs/configuration.md: otelbreaker reset ",
		"docs/runbooks/README.md: otelbreaker force-open",
	}, operations},
	{"the demo", []string{"README.md: make demo"}, demo},
	{"a webhook's signature", []string{"docs/notifications.md: printf"}, signature},
	{"Kibana's files", []string{"docs/log-search-setup.md: curl "}, kibana},
	{"the peers' cases", []string{"docs/compared.md: go test ./breaker"}, inTheTree},
}

// elsewhere are blocks that tests of e2e/ run, in the module that has the real programs.
var elsewhere = map[string]string{
	"docs/deployment.md: $EDITOR deploy/prometheus/targets": "TestDocuments_Prometheus",
	"docs/deployment.md: export COLLECTOR_LOGS_EXPORTER":    "TestDocuments_Collector",
	"docs/deployment.md: export COLLECTOR_OTLP_GRPC":        "TestDocuments_Collector",
	"docs/deployment.md: otelcol-contrib":                   "TestDocuments_MetricsByOTLP",
	"docs/deployment.md: sudo install":                      "TestDocuments_Alertmanager",
	"docs/deployment.md: amtool alert add":                  "TestDocuments_Alertmanager",
	"docs/log-search-setup.md: loki ":                       "TestDocuments_Loki",
	"docs/log-search-setup.md: otelcol-contrib":             "TestDocuments_Collector",
	"docs/faq.md: amtool ":                                  "TestDocuments_Silence",
	"docs/load.md: go run ./cmd/demo load":                  "TestDocuments_Load",
	"docs/quality.md: make schedules":                       "TestDocuments_Fuzzing",
}

// aside are commands that no test runs: each with why, and with a file and words in it that show what stands for it.
var aside = []struct{ command, why, file, words string }{
	{"make test", "it is what runs this test", ".ci/run", "step make test"},
	{"make load", "15 seconds for nothing but itself", ".ci/run", "step make load"},
	{"make bench", "minutes on a machine of its own", "benchmarks/run", "go test"},
	{"make bench-baseline", "it rewrites a document", "benchmarks/report/main_test.go", "func Test"},
	{"make mutate", "half an hour, and it rewrites a document", "tools/gremlins/run", "gremlins"},
	{"make cover", "it is `make test` a second time", "tools/release/cover.go", "-coverprofile"},
	{"make cover-record", "likewise, and it rewrites a document", "tools/release", "func "},
	{"make schedules", "an hour; with fewer schedules it is in `make test`", "breaker", "func TestG02_SchedulesMatchTheModel("},
	{"make otelcol", "minutes; `make e2e` builds it", "Makefile", "STACK := $(addprefix $(BIN)/,otelcol"},
	{"make fleet-telemetry", "half an hour and 12 GB; smaller in `make e2e`", "e2e/fleetsim", "func TestFleet_SentThroughTwoGateways("},
	{"go test -C e2e -count=1 -v ./fleetsim", "likewise", "e2e/fleetsim", "func TestFleet_SentThroughTwoGateways("},
	{"$EDITOR deploy/kubernetes/base/kustomization.yaml", "it is for a cluster, of which there is none", "deploy/kubernetes", "func TestThePartsFit("},
	{"kubectl diff", "likewise; what it would send is checked", "deploy/kubernetes", "func TestTheManifestsMatchTheSchemas("},
	{"kubectl apply", "likewise", "deploy/kubernetes", "func TestTheManifestsMatchTheSchemas("},
	{"kubectl -n otelbreaker rollout status", "likewise", "deploy/kubernetes", "func TestThePartsFit("},
	{"ONLY='Call/Rejected|Limit/' benchmarks/run", "a benchmark on a machine of its own", "benchmarks/run", "ONLY"},
	{".bin/benchstat -ignore commit,rounds benchmarks/results/peers.txt", "it is of that benchmark", "Makefile", "benchstat -ignore commit,rounds"},
	{"cd transport && go test -run '^$' -bench", "a benchmark on a machine of its own", "transport", "func BenchmarkRoundTrip("},
	{"for round in 1 2 3; do go test -C e2e", "a benchmark on a machine of its own", "e2e/faults_bench_test.go", "func BenchmarkCalls"},
}

// Every command that a document shows is run by a scenario here, or by a test of e2e, or is told aside.
func TestTheCommandsRun(t *testing.T) {
	all, err := document.Blocks("..")
	if err != nil {
		t.Fatal(err)
	}
	left := leaveAside(t, all)
	take := func(name, by string) (taken document.Block) {
		n := 0
		for i, b := range left {
			if len(b.Commands) > 0 && strings.HasPrefix(all[i].Name()+"\n", name) {
				taken = b
				left[i].Commands = nil
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s is for %q, which are %d blocks, not 1", by, name, n)
		}
		return taken
	}
	tests, sources := declaredTests(t), source(t, "../e2e")
	for name, test := range elsewhere {
		take(name, test)
		if !tests[test] || !strings.Contains(sources, `"`+name) {
			t.Errorf("%q should be run by %s of e2e, which is not there or does not name it", name, test)
		}
	}
	for _, s := range scenarios {
		var blocks []document.Block
		for _, name := range s.blocks {
			blocks = append(blocks, take(name, s.name))
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for _, program := range []string{"curl", "openssl"} { // all else that is run is of the tree, or Go's
				if _, err := exec.LookPath(program); err != nil && slices.ContainsFunc(blocks, func(b document.Block) bool {
					return strings.Contains(strings.Join(b.Commands, "\n"), program+" ")
				}) {
					t.Skip(err)
				}
			}
			s.run(t, blocks)
		})
	}
	for _, b := range left {
		for _, command := range b.Commands {
			t.Errorf("%s:%d: nothing runs %q", b.File, b.Line, command)
		}
	}
}

// leaveAside takes the commands out that are told aside.
func leaveAside(t *testing.T, all []document.Block) (left []document.Block) {
	t.Helper()
	used := make([]bool, len(aside))
	for _, b := range all {
		var commands []string
	next:
		for _, command := range b.Commands {
			text, _, _ := strings.Cut(command, " #")
			for i, a := range aside {
				if text = strings.TrimSpace(text); text == a.command || strings.HasPrefix(text, a.command+" ") {
					used[i] = true
					continue next
				}
			}
			commands = append(commands, command)
		}
		b.Commands = commands
		left = append(left, b)
	}
	for i, a := range aside {
		if !used[i] {
			t.Errorf("no document has the command %q any more", a.command)
		}
		if !strings.Contains(source(t, filepath.Join("..", a.file)), a.words) {
			t.Errorf("%q is not run (%s), and %s, which should stand for it, has no %q", a.command, a.why, a.file, a.words)
		}
	}
	return left
}

// source is the text of a file, or of all the Go of a folder.
func source(t *testing.T, path string) string {
	t.Helper()
	if info, err := os.Stat(path); err != nil {
		t.Error(err)
		return ""
	} else if !info.IsDir() {
		return read(t, path)
	}
	files, err := filepath.Glob(filepath.Join(path, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		all.WriteString(read(t, file))
	}
	return all.String()
}

// The targets of make that are named within a sentence are there, too.
func TestTheTargetsAreThere(t *testing.T) {
	makefile := read(t, "../Makefile")
	for _, file := range documents(t) {
		for _, m := range regexp.MustCompile("(?:`|(?m:^))make ([a-z0-9-]+)").FindAllStringSubmatch(read(t, file), -1) {
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s: there is no target %q", file, m[1])
			}
		}
	}
}
