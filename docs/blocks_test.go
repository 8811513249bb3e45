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

// A block of Go stands in a document as it would in a user's program. It is compiled in the module that the document is of,
// or in the one that a comment above it names: <!-- compiled in contrib/gobreaker -->. There is no way to leave one out.
var (
	goBlock   = regexp.MustCompile("(?ms)^(?:<!-- compiled in (\\S+) -->\n+)?( *)```go\n(.*?)^ *```$")
	goFence   = regexp.MustCompile("(?m)^ *```go$")
	ownModule = regexp.MustCompile(`^\.\./(contrib/\w+)/`)
)

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

	"contrib/gobreaker gobreaker":   module + "contrib/gobreaker",
	"contrib/gobreaker peer":        "github.com/sony/gobreaker/v2",
	"contrib/failsafe failsafe":     module + "contrib/failsafe",
	"contrib/failsafe failsafehttp": "github.com/failsafe-go/failsafe-go/failsafehttp",
	"contrib/failsafe peer":         "github.com/failsafe-go/failsafe-go",
	"fleet/nats fleet":              module + "fleet",
	"fleet/redis fleet":             module + "fleet",
	"fleet/nats fleetnats":          module + "fleet/nats",
	"fleet/nats nats":               "github.com/nats-io/nats.go",
	"fleet/redis fleetredis":        module + "fleet/redis",
	"fleet/redis redis":             "github.com/redis/go-redis/v9",
	"tls":                           "crypto/tls",
	"benchmarks circuitbreaker":     "github.com/failsafe-go/failsafe-go/circuitbreaker",
	"benchmarks failsafe":           "github.com/failsafe-go/failsafe-go",
	"benchmarks gobreaker":          "github.com/sony/gobreaker/v2",
	"benchmarks hystrix":            "github.com/afex/hystrix-go/hystrix",
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

// documents are all that is written for users.
func documents(t *testing.T) []string {
	t.Helper()
	files := []string{"../README.md", "../CONTRIBUTING.md"}
	for _, folder := range []string{"*.md", "runbooks/*.md", "../contrib/*/README.md"} {
		found, err := filepath.Glob(folder)
		if err != nil || len(found) == 0 {
			t.Fatalf("no documents in %s: %v", folder, err)
		}
		files = append(files, found...)
	}
	return files
}

func TestEveryBlockOfGoCompiles(t *testing.T) {
	modules := map[string][]block{}
	for _, file := range documents(t) {
		text := read(t, file)
		found := goBlock.FindAllStringSubmatchIndex(text, -1)
		if want := len(goFence.FindAllString(text, -1)); len(found) != want {
			t.Errorf("%s: %d blocks of Go, of which %d were understood", file, want, len(found))
		}
		for _, at := range found {
			b := block{file: file, line: 1 + strings.Count(text[:at[6]], "\n")}
			b.code = strings.ReplaceAll("\n"+text[at[6]:at[7]], "\n"+text[at[4]:at[5]], "\n")[1:] // in a list it is indented
			if at[2] >= 0 {
				b.module = text[at[2]:at[3]]
			} else if own := ownModule.FindStringSubmatch(file); own != nil {
				b.module = own[1]
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
	here := fmt.Sprintf("//line %s:%d\n", strings.TrimPrefix(b.file, "../"), b.line)
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
