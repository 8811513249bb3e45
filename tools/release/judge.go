package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"strconv"

	"golang.org/x/exp/apidiff"
)

// A record is the surface of each package of a module, by import path, as [surface] writes it.
type record map[string]string

// judge tells what became of a module's surface: what breaks a program that uses it as it was, and what is only new.
// Both are read back from their text, so that what the text leaves out cannot make a difference.
func judge(module string, before, after record, other types.Importer) (breaking, added []string, err error) {
	old, err := before.check(module, other)
	if err != nil { // what it mentions of other packages is gone
		return []string{fmt.Sprintf("the record does not compile any more: %v", err)}, nil, nil
	}
	now, err := after.check(module, other)
	if err != nil {
		return nil, nil, fmt.Errorf("the surface as it is: %w", err)
	}
	for _, c := range apidiff.ModuleChanges(old, now).Changes {
		if c.Compatible {
			added = append(added, c.Message)
		} else {
			breaking = append(breaking, c.Message)
		}
	}
	return breaking, added, nil
}

// check has the compiler's type checker read all packages of a record.
func (r record) check(module string, other types.Importer) (*apidiff.Module, error) {
	c := checker{record: r, other: other, done: map[string]*types.Package{}, files: token.NewFileSet()}
	m := &apidiff.Module{Path: module}
	for _, path := range slices.Sorted(maps.Keys(r)) {
		pkg, err := c.Import(path)
		if err != nil {
			return nil, err
		}
		m.Packages = append(m.Packages, pkg)
	}
	return m, nil
}

// imports are the packages that the surface mentions, other than its own.
func (r record) imports() []string {
	all := map[string]bool{}
	for path, text := range r {
		file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ImportsOnly)
		if err != nil {
			continue // is told by check
		}
		for _, spec := range file.Imports {
			if path, err := strconv.Unquote(spec.Path.Value); err == nil && r[path] == "" {
				all[path] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// A checker imports the packages of a record by their text there, and all others as they are.
type checker struct {
	record record
	other  types.Importer
	done   map[string]*types.Package
	files  *token.FileSet
}

func (c *checker) Import(path string) (*types.Package, error) {
	text, recorded := c.record[path]
	if !recorded {
		return c.other.Import(path)
	}
	if pkg, done := c.done[path]; done {
		return pkg, nil
	}
	file, err := parser.ParseFile(c.files, path+recordSuffix, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			f.Body = &ast.BlockStmt{} // which the type checker wants, and does not look into
		}
	}
	var errs []error
	config := types.Config{Importer: c, IgnoreFuncBodies: true, Error: func(err error) { errs = append(errs, err) }}
	pkg, _ := config.Check(path, c.files, []*ast.File{file}, nil)
	c.done[path] = pkg
	return pkg, errors.Join(errs...)
}
