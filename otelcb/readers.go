package otelcb

import (
	"reflect"

	"go.opentelemetry.io/otel/metric"
)

// reader is one of those that collect under a meter provider: a scraped page, say, or an exporter. Each has seen series
// begin and end at collections of its own.
type reader struct {
	round uint64             // of its last collection
	base  map[*series]totals // what of a series it is not shown: what had been counted when it saw the series end
}

// mostReaders bounds the readers told apart. No provider has that many, so beyond it what tells them apart does not.
const mostReaders = 16

// readerOf gives the one who collects by o.
func (h *hub) readerOf(o metric.Observer) *reader {
	id := uintptr(0)
	if !h.alike {
		id = identity(o)
	}
	r := h.readers[id]
	if r == nil && len(h.readers) == mostReaders {
		h.alike, h.readers = true, map[uintptr]*reader{}
		return h.readerOf(o)
	}
	if r == nil {
		r = &reader{base: map[*series]totals{}}
		h.readers[id] = r
	}
	return r
}

// missed tells whether there is a reader that has not collected since that round.
func (h *hub) missed(round uint64) bool {
	for _, r := range h.readers {
		if r.round < round {
			return true
		}
	}
	return false
}

var observerType = reflect.TypeFor[metric.Observer]()

// identity tells a provider's readers apart. The API has no name for them, but what an SDK hands to a callback holds on
// to the pipeline of the one reader that collects: the pointer to that will do. A wrapper, like that of the global
// provider, may be another one at each collection, and is looked into. Where nothing tells, it is 0, and all readers
// count as one.
func identity(o metric.Observer) uintptr {
	v := reflect.ValueOf(o)
	for range 10 { // wrappers are not nested deeper, unless they hold themselves
		whole := v
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		inner, first := reflect.Value{}, uintptr(0)
		if v.Kind() == reflect.Struct {
			inner, first = fieldsOf(v)
		}
		switch {
		case inner.IsValid():
			v = inner
		case whole.Kind() == reflect.Pointer:
			return whole.Pointer()
		default:
			return first
		}
	}
	return 0
}

// fieldsOf gives the observer that a struct wraps, and the first pointer in it.
func fieldsOf(v reflect.Value) (inner reflect.Value, first uintptr) {
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Interface:
			if !f.IsNil() && f.Type().Implements(observerType) {
				return f.Elem(), 0
			}
		case reflect.Pointer, reflect.Map, reflect.Chan, reflect.Func:
			if first == 0 {
				first = f.Pointer()
			}
		default:
		}
	}
	return reflect.Value{}, first
}
