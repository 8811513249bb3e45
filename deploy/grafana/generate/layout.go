package main

import (
	"maps"
	"slices"
)

// width of a dashboard, in columns of its grid.
const width = 24

func sorted(o object) []string { return slices.Sorted(maps.Keys(o)) }

// line is panels side by side, all of one height; an empty width shares what is left.
type line struct {
	height int
	panels []object
}

// section is a row that can be folded, with its lines of panels; one without a title has no heading.
type section struct {
	title string
	lines []line
}

func sized(w int, p object) object {
	p["gridPos"] = object{"w": w}
	return p
}

// place gives every panel its place and its id, from the top down.
func place(sections ...section) []object {
	var all []object
	y, id := 0, 1
	add := func(p object, x, w, h int) {
		p["gridPos"] = object{"x": x, "y": y, "w": w, "h": h}
		p["id"] = id
		id++
		all = append(all, p)
	}
	for _, s := range sections {
		if s.title != "" {
			add(object{"type": "row", "title": s.title, "collapsed": false, "panels": []object{}}, 0, width, 1)
			y++
		}
		for _, l := range s.lines {
			rest, open := width, 0
			for _, p := range l.panels {
				if pos, fixed := p["gridPos"].(object); fixed {
					rest -= pos["w"].(int)
				} else {
					open++
				}
			}
			x := 0
			for _, p := range l.panels {
				pos, fixed := p["gridPos"].(object)
				if !fixed {
					pos = object{"w": rest / open} // the last ones share what does not divide
					rest -= rest / open
					open--
				}
				w := pos["w"].(int)
				add(p, x, w, l.height)
				x += w
			}
			y += l.height
		}
	}
	return all
}
