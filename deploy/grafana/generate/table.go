package main

// column is a query of a table: its name there, and the properties of the field.
type column struct {
	ref, name  string
	properties object
}

// table joins instant queries to rows by their labels.
func table(p object, labels []string, columns []column) {
	rename, order := object{"service": "Dependency", "endpoint": "Endpoint", "job": "Program"}, object{}
	for i, l := range labels {
		order[l] = i
	}
	// The state, which is the first query, comes first.
	for i, c := range columns {
		rename["Value #"+c.ref] = c.name
		order["Value #"+c.ref] = len(labels) + i
		override(p, c.name, c.properties)
	}
	p["transformations"] = []object{
		{"id": "merge", "options": object{}},
		{"id": "organize", "options": object{"excludeByName": object{"Time": true}, "indexByName": order, "renameByName": rename, "includeByName": object{}}},
	}
	defaults(p, object{"color": object{"mode": "thresholds"}})
	override(p, "Endpoint", object{"custom.width": 260})
	custom(p, object{"minWidth": 90, "align": "auto", "cellOptions": object{"type": "auto"}, "inspect": false, "filterable": false})
	options(p, object{"showHeader": true, "cellHeight": "sm", "frameIndex": 0, "footer": object{"show": false, "reducer": []string{"sum"}, "countRows": false, "fields": []string{}}, "sortBy": []object{}})
}
