package main

import "strings"

// The dashboards' uids are an interface: alerts link to them.
const (
	overviewUID    = "otelbreaker-overview"
	breakerUID     = "otelbreaker-breaker"
	fleetUID       = "otelbreaker-fleet"
	performanceUID = "otelbreaker-performance"
)

// tracesUID is the data source of traces in ../provisioning/datasources. An annotation's text knows no variables, so
// that its link needs a fixed one.
const tracesUID = "otelbreaker-traces"

// Data sources, as the variables name them.
var (
	metrics = object{"type": "prometheus", "uid": "${datasource}"}
	logs    = object{"type": "loki", "uid": "${logs}"}
)

// newDashboard puts a dashboard together. Schema 39 is read by Grafana 11 and everything newer.
func newDashboard(uid, title, description string, panels []object) object {
	return object{
		"uid":                  uid,
		"title":                title,
		"description":          description,
		"tags":                 []string{"circuit-breaker", "otelbreaker"},
		"schemaVersion":        39,
		"version":              1,
		"editable":             false,
		"graphTooltip":         1, // one crosshair for all panels
		"fiscalYearStartMonth": 0,
		"weekStart":            "",
		"timezone":             "browser",
		"refresh":              "30s",
		"time":                 object{"from": "now-1h", "to": "now"},
		"timepicker":           object{},
		"links":                links(uid),
		"templating":           object{"list": variables()},
		"annotations":          object{"list": annotations()},
		"panels":               panels,
	}
}

// links lead to the other dashboards, with the variables and the time range of this one.
func links(own string) []object {
	var all []object
	for _, l := range []struct{ uid, title, tooltip string }{
		{overviewUID, "Overview", "All breakers at a glance"},
		{breakerUID, "Breaker", "One breaker, instance by instance"},
		{fleetUID, "Fleet", "Programs, dependencies and instances"},
		{performanceUID, "Performance", "What the breakers, their processes and their telemetry cost"},
	} {
		if l.uid == own {
			continue
		}
		all = append(all, object{
			"type": "link", "title": l.title, "tooltip": l.tooltip, "icon": "dashboard",
			"url": "/d/" + l.uid, "includeVars": true, "keepTime": true,
			"asDropdown": false, "tags": []string{}, "targetBlank": false,
		})
	}
	return all
}

// variables are the same in every dashboard, so that a link can carry all of them.
func variables() []object {
	source := func(name, label, description, plugin string) object {
		return object{
			"type": "datasource", "name": name, "label": label, "description": description, "query": plugin,
			"current": object{}, "hide": 0, "includeAll": false, "multi": false, "options": []object{}, "refresh": 1,
			"regex": "", "skipUrlSync": false,
		}
	}
	// All is one expression instead of a list of every value, which grows with the fleet.
	many := func(name, label, description, all string, from object, query any, definition string) object {
		return object{
			"type": "query", "name": name, "label": label, "description": description, "datasource": from,
			"query": query, "definition": definition, "refresh": 2, "sort": 1, "regex": "", "hide": 0,
			"includeAll": true, "allValue": all, "multi": true, "options": []object{}, "skipUrlSync": false,
			"current": object{"selected": true, "text": []string{"All"}, "value": []string{"$__all"}},
		}
	}
	values := func(name, label, description, matcher, of string) object {
		query := "label_values(circuit_breaker_state{" + matcher + "}, " + of + ")"
		// Also what has no such label: a process that names no service.instance.id has no instance.
		return many(name, label, description, ".*", metrics,
			object{"query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery", "qryType": 5}, query)
	}
	job := `job=~"$job"`
	service := job + `, service=~"$service"`
	endpoint := service + `, endpoint=~"$endpoint"`
	return []object{
		source("datasource", "Metrics", "Where the metrics are", "prometheus"),
		source("logs", "Logs", "Where the log records are", "loki"),
		source("traces", "Traces", "Where links to a trace lead", "jaeger"),
		values("job", "Program", "The program that makes the calls: service.name, or the job of its scrape", "", "job"),
		values("service", "Dependency", "The service that is called", job, "service"),
		values("endpoint", "Endpoint", "Its address, or whatever the breaker is called", service, "endpoint"),
		values("instance", "Instance", "The process that makes the calls", endpoint, "instance"),
		many("program", "Logs of", "The program by its name in the logs (service_name). With many programs in one Loki, "+
			"choosing one makes the log queries fast", ".+", logs,
			object{"label": "service_name", "refId": "LokiVariableQueryEditor-VariableQuery", "stream": "", "type": 1},
			"label_values(service_name)"),
	}
}

// annotations mark the transitions on every panel with a time axis, each with its reason and its trace.
func annotations() []object {
	list := []object{{
		"builtIn": 1, "datasource": object{"type": "grafana", "uid": "-- Grafana --"}, "enable": true, "hide": true,
		"iconColor": "rgba(0, 211, 255, 1)", "name": "Annotations & Alerts", "type": "dashboard",
	}}
	for _, a := range []struct {
		name, color string
		on          bool
		events      []string
	}{
		{"Opened", "red", true, []string{"circuit_opened"}},
		{"Probes", "yellow", false, []string{"circuit_half_open", "circuit_reopened"}}, // many in a long outage
		{"Closed", "green", true, []string{"circuit_closed"}},
		{"By an operator", "purple", true, []string{"circuit_state_change"}},
	} {
		list = append(list, object{
			"name": a.name, "datasource": logs, "enable": a.on, "hide": false, "iconColor": a.color,
			"expr":        records(`event_type=~"` + strings.Join(a.events, "|") + `"`),
			"titleFormat": "{{event_type}}",
			"textFormat":  `{{service}} {{endpoint}}: {{old_state}} → {{new_state}}, {{reason}} <a href="` + traceURL(tracesUID, "{{trace_id}}") + `">trace</a>`,
			"tagKeys":     "service,reason",
		})
	}
	return list
}

// traceURL opens a trace in Explore.
func traceURL(datasource, trace string) string {
	panes := `{"trace":{"datasource":"DATASOURCE","queries":[{"refId":"A","query":"TRACE"}],"range":{"from":"now-24h","to":"now"}}}`
	// The variables in it stay as they are, for Grafana to replace.
	escape := strings.NewReplacer("{", "%7B", "}", "%7D", `"`, "%22", ":", "%3A", ",", "%2C", "[", "%5B", "]", "%5D")
	put := strings.NewReplacer("DATASOURCE", datasource, "TRACE", trace)
	return "/explore?schemaVersion=1&panes=" + put.Replace(escape.Replace(panes))
}

// breakerURL opens the dashboard of one breaker, with the data sources and the time range of this one. labels tells how
// the panel names a label's value.
func breakerURL(labels string) string {
	return linkURL(breakerUID, labels, "service", "endpoint")
}

func linkURL(uid, labels string, names ...string) string {
	url := "/d/" + uid + "?${__url_time_range}&${datasource:queryparam}&${logs:queryparam}&${traces:queryparam}" +
		"&${job:queryparam}&${instance:queryparam}&${program:queryparam}"
	for _, name := range names {
		url += "&var-" + name + "=${" + labels + "." + name + ":percentencode}"
	}
	return url
}
