package main

import "go/types"

// A walker goes through the types that a type is made of.
type walker struct {
	pkg   func(*types.Package)  // called for the package of everything that has a name
	named func(*types.TypeName) // called for everything that has a name
	seen  map[types.Type]bool
}

func (w *walker) object(o types.Object) {
	w.typ(o.Type())
	if named, ok := o.Type().(*types.Named); ok {
		w.typ(named.Underlying())
		for m := range named.Methods() {
			w.typ(m.Type())
		}
	}
	if alias, ok := o.Type().(*types.Alias); ok {
		w.typ(alias.Rhs())
	}
}

func (w *walker) name(o *types.TypeName) {
	if w.named != nil {
		w.named(o)
	}
	if w.pkg != nil && o.Pkg() != nil {
		w.pkg(o.Pkg())
	}
}

func (w *walker) typ(t types.Type) {
	if t == nil || w.seen[t] {
		return
	}
	if w.seen == nil {
		w.seen = map[types.Type]bool{}
	}
	w.seen[t] = true

	switch t := t.(type) {
	case *types.Named:
		w.name(t.Obj())
		w.list(t.TypeArgs())
		w.parameters(t.TypeParams())
	case *types.Alias:
		w.name(t.Obj())
		w.list(t.TypeArgs())
		w.parameters(t.TypeParams())
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() || f.Embedded() {
				w.typ(f.Type())
			}
		}
	case *types.Interface:
		for e := range t.EmbeddedTypes() {
			w.typ(e)
		}
		for m := range t.ExplicitMethods() {
			if m.Exported() {
				w.typ(m.Type())
			}
		}
	case *types.Signature:
		w.parameters(t.TypeParams())
		w.typ(t.Params())
		w.typ(t.Results())
	case *types.Tuple:
		for v := range t.Variables() {
			w.typ(v.Type())
		}
	case *types.Union:
		for term := range t.Terms() {
			w.typ(term.Type())
		}
	case *types.Map:
		w.typ(t.Key())
		w.typ(t.Elem())
	case interface{ Elem() types.Type }: // pointer, slice, array, channel
		w.typ(t.Elem())
	}
}

func (w *walker) list(l *types.TypeList) {
	for t := range l.Types() {
		w.typ(t)
	}
}

func (w *walker) parameters(l *types.TypeParamList) {
	for t := range l.TypeParams() {
		w.typ(t.Constraint())
	}
}
