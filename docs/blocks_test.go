package docs_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A block of Go stands in a document as it would in a user's program. It is compiled in this module, or in the one that a
// comment above it names: <!-- compiled in contrib/gobreaker -->. There is no way to leave one out.
var goBlock = regexp.MustCompile("(?ms)^(?:<!-- compiled in (\\S+) -->\n+)?```go\n(.*?)^```$")

// imports are what a snippet's names mean. What differs from module to module is under the module's name.
var imports = map[string]string{
	"breaker":     module + "breaker",
	"collector":   module + "collector",
	"control":     module + "control",
	"health":      module + "health",
	"notify":      module + "notify",
	"otelcb":      module + "otelcb",
	"transport":   module + "transport",
	"grpcbreaker": module + "contrib/grpcbreaker",
	"otelhttp":    "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp",
	"otelgrpc":    "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc",
	"grpc":        "google.golang.org/grpc",
	"credentials": "google.golang.org/grpc/credentials",
	"bytes":       "bytes",
	"context":     "context",
	"errors":      "errors",
	"fmt":         "fmt",
	"http":        "net/http",
	"json":        "encoding/json",
	"os":          "os",
	"slog":        "log/slog",
	"sql":         "database/sql",
	"strings":     "strings",
	"synctest":    "testing/synctest",
	"testing":     "testing",
	"time":        "time",

	"contrib/gobreaker gobreaker": module + "contrib/gobreaker",
	"contrib/gobreaker peer":      "github.com/sony/gobreaker/v2",
	"contrib/failsafe failsafe":   module + "contrib/failsafe",
	"contrib/failsafe peer":       "github.com/failsafe-go/failsafe-go",
	"benchmarks circuitbreaker":   "github.com/failsafe-go/failsafe-go/circuitbreaker",
	"benchmarks failsafe":         "github.com/failsafe-go/failsafe-go",
	"benchmarks gobreaker":        "github.com/sony/gobreaker/v2",
	"benchmarks hystrix":          "github.com/afex/hystrix-go/hystrix",
}

// given is what snippets may use without having made it: the user's own.
var given = map[string]string{
	"b":         "*breaker.Breaker",
	"cb":        "*gobreaker.CircuitBreaker[[]byte]",
	"charge":    "func(context.Context, string) error",
	"config":    "breaker.Config",
	"ctx":       "context.Context",
	"db":        "*sql.DB",
	"errBusy":   "error",
	"fetch":     "func() ([]byte, error)",
	"fetchCtx":  "func(context.Context) ([]byte, error)",
	"fromCache": "func() []byte",
	"group":     "*breaker.Group",
	"guarded":   "*transport.Transport",
	"id":        "string",
	"next":      "http.RoundTripper",
	"order":     "string",
	"slack":     "breaker.Listener",
}

func (b block) meaning(name string) string {
	if path, found := imports[b.module+" "+name]; found {
		return path
	}
	return imports[name]
}

type block struct {
	file   string
	line   int // of the code's first line
	module string
	code   string
}

// documents are those whose blocks and links are checked.
func documents(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	return append([]string{"../README.md"}, files...)
}

func TestEveryBlockOfGoCompiles(t *testing.T) {
	modules := map[string][]block{}
	for _, file := range documents(t) {
		text := read(t, file)
		found := goBlock.FindAllStringSubmatchIndex(text, -1)
		if want := strings.Count("\n"+text, "\n```go\n"); len(found) != want {
			t.Errorf("%s: %d blocks of Go, of which %d were understood", file, want, len(found))
		}
		for _, at := range found {
			b := block{file: file, line: 1 + strings.Count(text[:at[4]], "\n"), code: text[at[4]:at[5]]}
			if at[2] >= 0 {
				b.module = text[at[2]:at[3]]
			}
			modules[b.module] = append(modules[b.module], b)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		t.Run(strings.ReplaceAll("module/"+name, "/", "_"), func(t *testing.T) { compile(t, name, modules[name]) })
	}
}

// compile builds the blocks, each as if it were a package of the module; errors name the document and the line in it.
func compile(t *testing.T, name string, blocks []block) {
	t.Helper()
	folder, err := filepath.Abs(filepath.Join("..", name))
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	list := filepath.Join(t.TempDir(), "overlay.json")
	arguments := []string{"build", "-gcflags=-e", "-overlay", list, "-o", os.DevNull}
	for i, b := range blocks {
		source := filepath.Join(t.TempDir(), "block.go")
		if err := os.WriteFile(source, []byte(b.source(t)), 0o600); err != nil {
			t.Fatal(err)
		}
		at := fmt.Sprintf("blocks%d", i)
		replace[filepath.Join(folder, at, "block.go")] = source
		arguments = append(arguments, "./"+at)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("go", arguments...)
	command.Dir = folder
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// source makes a file of a block: a program is one; declarations get the imports that they need; statements a function
// around them as well, which is given what they use and uses what they make.
func (b block) source(t *testing.T) string {
	t.Helper()
	here := fmt.Sprintf("//line %s:%d\n", filepath.Base(b.file), b.line)
	if strings.HasPrefix(b.code, "package ") {
		return here + b.code
	}
	statements := !regexp.MustCompile(`^(//[^\n]*\n)*(func|type) `).MatchString(b.code)
	text := b.code
	if statements {
		text = "func _() error {\n" + b.code + "}\n"
	}
	file, err := parser.ParseFile(token.NewFileSet(), b.file, "package blocks\n"+text, 0)
	if err != nil {
		t.Errorf("%s:%d: %v", b.file, b.line, err)
		return "package blocks\n"
	}
	used := map[string]bool{}
	var parameters []string
	for _, name := range file.Unresolved {
		what, found := given[name.Name]
		if !statements || !found || b.meaning(name.Name) != "" {
			used[name.Name] = true
		} else if parameter := name.Name + " " + what; !slices.Contains(parameters, parameter) {
			parameters = append(parameters, parameter)
			for _, m := range regexp.MustCompile(`(\w+)\.`).FindAllStringSubmatch(what, -1) {
				used[m[1]] = true
			}
		}
	}
	var out strings.Builder
	out.WriteString("package blocks\n")
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if path := b.meaning(name); path != "" {
			fmt.Fprintf(&out, "import %s %q\n", name, path)
		}
	}
	if !statements {
		return out.String() + here + b.code
	}
	fmt.Fprintf(&out, "func _(%s) error {\n%s%s", strings.Join(parameters, ", "), here, b.code)
	body := file.Decls[0].(*ast.FuncDecl).Body.List
	if _, returns := body[len(body)-1].(*ast.ReturnStmt); !returns {
		for _, s := range body {
			var made []ast.Expr
			switch s := s.(type) {
			case *ast.AssignStmt:
				made = s.Lhs
			case *ast.DeclStmt:
				for _, spec := range s.Decl.(*ast.GenDecl).Specs {
					for _, name := range spec.(*ast.ValueSpec).Names {
						made = append(made, name)
					}
				}
			}
			for _, name := range made {
				if name, plain := name.(*ast.Ident); plain && name.Name != "_" {
					fmt.Fprintf(&out, "_ = %s\n", name.Name)
				}
			}
		}
		out.WriteString("return nil\n")
	}
	out.WriteString("}\n")
	return out.String()
}

var (
	shellBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")
	makeTarget = regexp.MustCompile(`(?m)(?:^|[;&|] *)make ([\w-]+)`)
	ownPath    = regexp.MustCompile(`(?:deploy|docs|cmd|contrib|e2e)/[\w./-]+`)
	ownClient  = regexp.MustCompile(`(?m)^otelbreaker ([\w-]+)`)
)

// The commands of the documents are commands of a shell, and the targets, files, packages and subcommands of ours that they
// name are there. They are not run here: most of them want a network, or run until they are stopped.
func TestTheCommandsAreReal(t *testing.T) {
	makefile := read(t, "../Makefile")
	subcommands := ""
	sources, _ := filepath.Glob("../cmd/otelbreaker/*.go")
	for _, source := range sources {
		subcommands += read(t, source)
	}
	for _, file := range documents(t) {
		for _, m := range shellBlock.FindAllStringSubmatch(read(t, file), -1) {
			command := exec.Command("bash", "-n")
			command.Stdin = strings.NewReader(m[1])
			if out, err := command.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s%s", file, err, out, m[1])
			}
			for _, target := range makeTarget.FindAllStringSubmatch(m[1], -1) {
				if !strings.Contains(makefile, "\n"+target[1]+":") {
					t.Errorf("%s: there is no target %q", file, target[1])
				}
			}
			for _, path := range ownPath.FindAllString(m[1], -1) {
				if _, err := os.Stat(filepath.Join("..", strings.TrimSuffix(path, "."))); err != nil {
					t.Errorf("%s: %v", file, err)
				}
			}
			for _, sub := range ownClient.FindAllStringSubmatch(m[1], -1) {
				if !strings.Contains(subcommands, `"`+sub[1]+` `) && !strings.Contains(subcommands, `"`+sub[1]+`"`) {
					t.Errorf("%s: the client has no %q", file, sub[1])
				}
			}
		}
	}
}
