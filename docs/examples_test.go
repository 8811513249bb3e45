package docs_test

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// explained are the packages whose documentation has an example for every way in.
var explained = []string{
	"breaker", "collector", "control", "health", "logs", "notify", "otelcb", "transport",
	"contrib/failsafe", "contrib/gobreaker", "contrib/grpcbreaker",
}

// calledByOthers are methods that fmt, errors, encoding/json, net/http and the breaker itself call.
var calledByOthers = []string{"Error", "ErrorType", "Is", "MarshalJSON", "OnTransition", "RoundTrip", "String", "UnmarshalJSON", "Unwrap"}

// withoutExample are names that no example uses, each with why.
var withoutExample = map[string]string{
	"breaker.Breaker.All":                         "what observes breakers ranges over it, as over a Group's",
	"breaker.Permit.Move":                         "for code that keeps a permit for a call that goes on, as the transport does for a body",
	"contrib/failsafe.CircuitBreaker.All":         "as a Breaker's",
	"contrib/failsafe.CircuitBreaker.ToExecutor":  "failsafe-go's executors call it",
	"contrib/gobreaker.CircuitBreaker.All":        "as a Breaker's",
	"contrib/gobreaker.TwoStepCircuitBreaker.All": "as a Breaker's",
}

// Whoever reads a package's documentation finds an example that uses each exported function, and each exported method that
// programs call.
func TestEveryWayInHasAnExample(t *testing.T) {
	exempt := maps.Clone(withoutExample)
	for _, name := range explained {
		pkg, used := examples(t, name)
		for _, entry := range entries(pkg) {
			key := name + "." + entry
			if _, excepted := exempt[key]; excepted != used[entry] {
				delete(exempt, key)
				continue
			}
			if used[entry] {
				t.Errorf("%s is used by an example, and excepted", key)
			} else {
				t.Errorf("no example of its package uses %s", key)
			}
			delete(exempt, key)
		}
	}
	for key := range exempt {
		t.Errorf("%s is excepted, and there is no such name", key)
	}
}

// entries are the exported functions of a package, and Type.Method for methods of its exported types.
func entries(pkg *types.Package) (all []string) {
	for _, name := range pkg.Scope().Names() {
		object := pkg.Scope().Lookup(name)
		if !object.Exported() {
			continue
		}
		switch object := object.(type) {
		case *types.Func:
			all = append(all, name)
		case *types.TypeName:
			if types.IsInterface(object.Type()) {
				continue
			}
			for method := range types.NewMethodSet(types.NewPointer(object.Type())).Methods() {
				if m := method.Obj(); m.Exported() && m.Pkg() == pkg && !slices.Contains(calledByOthers, m.Name()) {
					all = append(all, name+"."+m.Name())
				}
			}
		}
	}
	return all
}

// examples is a package of the repository, and which of its functions and methods its examples use, as entries names them.
// Examples are in files of their own, example*_test.go, which stand by themselves.
func examples(t *testing.T, name string) (pkg *types.Package, used map[string]bool) {
	t.Helper()
	folder, fset := filepath.Join("..", name), token.NewFileSet()
	sources, err := filepath.Glob(filepath.Join(folder, "example*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	arguments := []string{"list", "-deps", "-export", "-f", "{{.ImportPath}}\t{{.Export}}", "."}
	for _, source := range sources {
		file, err := parser.ParseFile(fset, source, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
		for _, imported := range file.Imports {
			path, err := strconv.Unquote(imported.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			arguments = append(arguments, path)
		}
	}
	command := exec.Command("go", arguments...)
	command.Dir, command.Stderr = folder, os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	compiled := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
		compiled[path] = file
	}
	packages := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(cmp.Or(compiled[path], "no compiled package "+path))
	})
	if pkg, err = packages.Import(module + name); err != nil {
		t.Fatal(err)
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{}}
	if _, err := (&types.Config{Importer: packages}).Check(module+name+"_test", fset, files, info); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	used = map[string]bool{}
	for _, file := range files {
		for _, declaration := range file.Decls {
			f, is := declaration.(*ast.FuncDecl)
			if !is || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Example") {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.Ident:
					if object, is := info.Uses[n].(*types.Func); is && object.Pkg() == pkg && object.Signature().Recv() == nil {
						used[object.Name()] = true
					}
				case *ast.SelectorExpr:
					if method := info.Selections[n]; method != nil && method.Obj().Pkg() == pkg {
						used[typeName(method.Recv())+"."+n.Sel.Name] = true
					}
				}
				return true
			})
		}
	}
	return pkg, used
}

// typeName is that of a value's type, or of what it points to.
func typeName(of types.Type) string {
	if pointer, is := of.(*types.Pointer); is {
		of = pointer.Elem()
	}
	if named, is := of.(*types.Named); is {
		return named.Obj().Name()
	}
	return fmt.Sprint(of)
}
