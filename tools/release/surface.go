package main

import (
	"bytes"
	"cmp"
	"fmt"
	"go/constant"
	"go/format"
	"go/types"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// surface writes a package's exported names with their types, as Go source without bodies: for people to review, and
// for [judge] to read back. What is not exported is left out where it cannot be seen from outside, and told by a
// placeholder where it can: a struct that has unexported fields, an interface that only its own package implements.
func surface(pkg *types.Package) (string, error) {
	p := printer{pkg: pkg, names: map[*types.Package]string{}, seen: map[types.Object]bool{}}
	p.name()
	for _, name := range pkg.Scope().Names() {
		if o := pkg.Scope().Lookup(name); o.Exported() {
			p.object(o)
		}
	}
	for len(p.hidden) > 0 { // each may bring further ones
		o := p.hidden[0]
		p.hidden = p.hidden[1:]
		p.object(o)
	}

	var out bytes.Buffer
	fmt.Fprintf(&out, "package %s\n\n", pkg.Name())
	if len(p.used) > 0 {
		out.WriteString("import (\n")
		for _, dep := range slices.SortedFunc(maps.Keys(p.used), byPath) {
			alias := ""
			if p.names[dep] != path.Base(dep.Path()) {
				alias = p.names[dep] + " "
			}
			fmt.Fprintf(&out, "\t%s%q\n", alias, dep.Path())
		}
		out.WriteString(")\n\n")
	}
	out.Write(p.out.Bytes())
	text, err := format.Source(out.Bytes())
	if err != nil {
		return "", fmt.Errorf("the surface of %s is no Go: %w", pkg.Path(), err)
	}
	return string(text), nil
}

type printer struct {
	pkg    *types.Package
	out    bytes.Buffer
	names  map[*types.Package]string // by which others are imported
	used   map[*types.Package]bool
	seen   map[types.Object]bool
	hidden []types.Object // unexported types that exported ones are made of
}

func byPath(a, b *types.Package) int { return cmp.Compare(a.Path(), b.Path()) }

// name gives every package that may be mentioned a name of its own. Those that share one have that of their parent
// folder before it: sdklog, otellog.
func (p *printer) name() {
	p.used = map[*types.Package]bool{}
	all := map[string][]*types.Package{}
	known := map[*types.Package]bool{p.pkg: true}
	w := walker{pkg: func(pkg *types.Package) {
		if !known[pkg] {
			known[pkg] = true
			all[pkg.Name()] = append(all[pkg.Name()], pkg)
		}
	}}
	for _, name := range p.pkg.Scope().Names() {
		w.object(p.pkg.Scope().Lookup(name))
	}
	for name, same := range all {
		for _, pkg := range same {
			p.names[pkg] = name
			if len(same) > 1 {
				p.names[pkg] = strings.ReplaceAll(path.Base(path.Dir(pkg.Path())), "-", "") + name
			}
		}
	}
}

// The compiler gives the results of a function that ranges over another one names of its own.
var compilers = regexp.MustCompile(`#rv\d+ `)

// typeString writes a type, and notes what it mentions.
func (p *printer) typeString(t types.Type) string {
	w := walker{named: func(o *types.TypeName) {
		if o.Pkg() == p.pkg && !o.Exported() && !p.seen[o] {
			p.seen[o] = true
			p.hidden = append(p.hidden, o)
		}
	}}
	w.typ(t)
	text := types.TypeString(t, func(pkg *types.Package) string {
		if pkg == p.pkg {
			return ""
		}
		p.used[pkg] = true
		return p.names[pkg]
	})
	return compilers.ReplaceAllString(text, "")
}

func (p *printer) object(o types.Object) {
	switch o := o.(type) {
	case *types.Const:
		p.constant(o)
	case *types.Var:
		fmt.Fprintf(&p.out, "var %s %s\n\n", o.Name(), p.typeString(o.Type()))
	case *types.Func:
		fmt.Fprintf(&p.out, "func %s%s\n\n", o.Name(), p.signature(o))
	case *types.TypeName:
		p.typeName(o)
	}
}

func (p *printer) signature(f *types.Func) string {
	return strings.TrimPrefix(p.typeString(f.Signature()), "func")
}

func (p *printer) constant(o *types.Const) {
	typ, value := "", o.Val().ExactString()
	if b, untyped := o.Type().(*types.Basic); !untyped || b.Info()&types.IsUntyped == 0 {
		typ = p.typeString(o.Type()) + " "
	}
	switch o.Val().Kind() {
	default: // as it is
	case constant.String:
		value = strconv.Quote(constant.StringVal(o.Val()))
		if o.Name() == "Version" {
			value = `"" // changes with every release` // and is no promise
		}
	case constant.Float: // a fraction, which must not be taken for a division of integers
		value = constant.Num(o.Val()).ExactString() + ".0 / " + constant.Denom(o.Val()).ExactString() + ".0"
	}
	if typ == "time.Duration " {
		n, _ := constant.Int64Val(o.Val())
		value += " // " + time.Duration(n).String()
	}
	fmt.Fprintf(&p.out, "const %s %s= %s\n\n", o.Name(), typ, value)
}

func (p *printer) typeName(o *types.TypeName) {
	if alias, ok := o.Type().(*types.Alias); ok {
		fmt.Fprintf(&p.out, "type %s%s = %s\n\n", o.Name(), p.parameters(alias.TypeParams()), p.typeString(alias.Rhs()))
		return
	}
	named, ok := o.Type().(*types.Named)
	if !ok { // an alias of a basic type
		fmt.Fprintf(&p.out, "type %s = %s\n\n", o.Name(), p.typeString(o.Type()))
		return
	}
	fmt.Fprintf(&p.out, "type %s%s %s\n\n", o.Name(), p.parameters(named.TypeParams()), p.underlying(named.Underlying()))

	methods := slices.SortedFunc(named.Methods(), func(a, b *types.Func) int { return cmp.Compare(a.Name(), b.Name()) })
	for _, m := range methods {
		if !m.Exported() {
			continue
		}
		// With the receiver's own names for type parameters, which the signature has, too.
		fmt.Fprintf(&p.out, "func (%s) %s%s\n\n", p.typeString(m.Signature().Recv().Type()), m.Name(), p.signature(m))
	}
}

func (p *printer) parameters(list *types.TypeParamList) string {
	if list.Len() == 0 {
		return ""
	}
	var all []string
	for t := range list.TypeParams() {
		all = append(all, t.Obj().Name()+" "+p.typeString(t.Constraint()))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

func (p *printer) underlying(t types.Type) string {
	switch t := t.(type) {
	case *types.Struct:
		return p.structure(t)
	case *types.Interface:
		return p.contract(t)
	}
	return p.typeString(t)
}

func (p *printer) structure(t *types.Struct) string {
	var s strings.Builder
	s.WriteString("struct {\n")
	hidden, comparable := false, true
	for i := range t.NumFields() {
		f := t.Field(i)
		if !f.Exported() && (!f.Embedded() || !shows(f.Type())) {
			hidden, comparable = true, comparable && types.Comparable(f.Type())
			continue
		}
		if !f.Embedded() {
			s.WriteString(f.Name() + " ")
		}
		s.WriteString(p.typeString(f.Type()))
		if tag := t.Tag(i); tag != "" {
			fmt.Fprintf(&s, " `%s`", tag)
		}
		s.WriteString("\n")
	}
	switch {
	case hidden && comparable:
		s.WriteString("_ struct{} // unexported fields\n")
	case hidden:
		s.WriteString("_ [0]func() // unexported fields that cannot be compared\n")
	}
	return s.String() + "}"
}

// shows tells whether an embedded type brings anything that can be seen from outside.
func shows(t types.Type) bool {
	for _, t := range []types.Type{t, types.NewPointer(t)} { // that of a pointer to an interface is empty
		for m := range types.NewMethodSet(t).Methods() {
			if m.Obj().Exported() {
				return true
			}
		}
	}
	if pointer, ok := t.Underlying().(*types.Pointer); ok {
		return shows(pointer.Elem())
	}
	s, ok := t.Underlying().(*types.Struct)
	if !ok {
		return false
	}
	for f := range s.Fields() {
		if f.Exported() || f.Embedded() && shows(f.Type()) {
			return true
		}
	}
	return false
}

func (p *printer) contract(t *types.Interface) string {
	var s strings.Builder
	s.WriteString("interface {\n")
	sealed := false
	for e := range t.EmbeddedTypes() {
		s.WriteString(p.typeString(e) + "\n")
	}
	for m := range t.ExplicitMethods() {
		if !m.Exported() {
			sealed = true
			continue
		}
		s.WriteString(m.Name() + p.signature(m) + "\n")
	}
	if sealed {
		s.WriteString("unexported()\n")
	}
	return s.String() + "}"
}
