package main

func fleet() object {
	const dependency = "service"
	return newDashboard(fleetUID, "Circuit breakers / Fleet",
		"Many programs and instances: which dependencies are open, on how many, for whom, and since when.",
		place(
			section{"", []line{
				{4, []object{
					reportingNow(),
					stat("Programs", "Programs whose breakers report now.", "short", now("count(\n  count by (job) ("+state()+")\n)", "programs")),
					stat("Dependencies", "Dependencies that are called through a breaker.", "short", now("count(\n  count by (service) ("+state()+")\n)", "dependencies")),
					stat("Breakers", "Breakers in all, on every instance each.", "short", now("count("+state()+")", "breakers")),
					openNow(), shareOpenNow(), overridesNow(),
				}},
				{7, []object{dependencyTable(dependency)}},
			}},
			section{"Breadth", []line{
				{9, []object{breakersByState(), fleetOpen(), openByProgram()}},
				{9, []object{timeline("States by program and dependency", "The worst state over the endpoints and instances of each dependency of each program. One program alone is its own trouble, all of them the dependency's.",
					states, query(aggregate("max", "job, service", inStep("circuit_breaker_state")), "{{job}} → {{service}}"))}},
			}},
			section{"Replicas", []line{
				{8, []object{replicaTable(), sized(8, disagreement())}},
				{9, []object{replicasOpen(), sized(12, firstToOpen())}},
			}},
			section{"Load and loss", []line{
				{9, []object{openingsByDependency(), blockedBy(dependency), failuresBy(dependency)}},
				{7, []object{overridesOverTime(), instancesReporting(), callRate()}},
			}},
		))
}

func dependencyTable(by string) object {
	p := panel("table", "By dependency", "One row a dependency, the widest open first. Openings and time open are of the range shown, rates are of now. Click for the overview of that dependency alone.",
		"short",
		tableQuery(worst(by)),
		tableQuery(aggregate("avg", by, state()+" == bool 2")),
		tableQuery("count by ("+by+") (\n  count by (job, instance, "+by+") ("+state()+")\n)"),
		tableQuery("count by ("+by+") (\n  count by (job, "+by+") ("+state()+")\n)"),
		tableQuery(successRate(by)+"\nor\n"+worst(by)+" * NaN"),
		tableQuery(blockedShare(by)),
		tableQuery(requests(by)),
		tableQuery(total(by, "circuit_breaker_transitions_total", `from_state="closed"`, `to_state="open"`)),
		tableQuery(total(by, "circuit_breaker_open_seconds_total")),
	)
	table(p, []string{by}, []column{
		{"A", "State", object{"mappings": states, "thresholds": ofStates, "custom.cellOptions": object{"type": "color-background", "mode": "basic"}, "custom.width": 120}},
		{"B", "Open on", object{"unit": "percentunit", "decimals": 0, "thresholds": ofOpen, "custom.cellOptions": object{"type": "color-text"}}},
		{"C", "Instances", object{"decimals": 0}},
		{"D", "Programs", object{"decimals": 0}},
		{"E", "Success", object{"unit": "percentunit", "decimals": 1, "thresholds": ofSuccess, "mappings": orText("no calls"), "custom.cellOptions": object{"type": "color-text"}}},
		{"F", "Blocked", object{"unit": "percentunit", "decimals": 1, "thresholds": ofOpen, "custom.cellOptions": object{"type": "color-text"}}},
		{"G", "Calls", object{"unit": "reqps"}},
		{"H", "Openings", object{"decimals": 0}},
		{"I", "Time open", object{"unit": "s", "decimals": 0}},
	})
	override(p, "Dependency", object{"links": []object{{"title": "Overview of this dependency", "url": linkURL(overviewUID, "__data.fields", "service"), "targetBlank": false}}})
	return options(p, object{"sortBy": []object{{"displayName": "Open on", "desc": true}, {"displayName": "State", "desc": true}}})
}

// The replicas of a program, counted by the recording rules: a pair of series an endpoint in place of one a replica, so
// that a fleet of a thousand is as quick to draw as one of ten. Instances cannot be chosen among them.
const (
	ofProgram    = `{job=~"$job", service=~"$service", endpoint=~"$endpoint"}`
	replicasBy   = "job, service, endpoint"
	openReplicas = "sum by (" + replicasBy + ") (job_service_endpoint:circuit_breaker_open:count" + ofProgram + ")"
	allReplicas  = "sum by (" + replicasBy + ") (job_service_endpoint:circuit_breaker_state:count" + ofProgram + ")"
	openShare    = openReplicas + "\n/\n" + allReplicas
	byReplicas   = "{{job}} → {{service}} {{endpoint}}"
)

// disagreeing is how many replicas refuse what their siblings do with success, and 0 where none does.
func disagreeing() string {
	return "count by (" + replicasBy + ") (" + series("breaker:circuit_breaker_alone:since_time") + ")\nor\n0 * " + allReplicas
}

func replicaTable() object {
	p := panel("table", "Open on how many replicas", "One row for each program and endpoint that it calls: on how many of its replicas the breaker is open, of how many. Disagreeing are those that refuse calls which their siblings make with success; after five minutes of it CircuitBreakerReplicasDisagree fires. Recorded by deploy/prometheus, without whose rules this is empty; for all instances.",
		"short", tableQuery(openReplicas), tableQuery(allReplicas), tableQuery(openShare), tableQuery(disagreeing()))
	table(p, []string{"job", "service", "endpoint"}, []column{
		{"A", "Open", object{"decimals": 0, "thresholds": none, "custom.cellOptions": object{"type": "color-text"}}},
		{"B", "Replicas", object{"decimals": 0}},
		{"C", "Share", object{"unit": "percentunit", "decimals": 0, "thresholds": ofOpen, "custom.cellOptions": object{"type": "color-text"}}},
		{"D", "Disagreeing", object{"decimals": 0, "thresholds": none, "custom.cellOptions": object{"type": "color-text"}}},
	})
	override(p, "Endpoint", object{"links": []object{{"title": "This breaker in detail", "url": linkURL(breakerUID, "__data.fields", "service", "endpoint"), "targetBlank": false}}})
	return options(p, object{"sortBy": []object{{"displayName": "Share", "desc": true}, {"displayName": "Open", "desc": true}}})
}

func replicasOpen() object {
	return defaults(linked(lines("Replicas open", "The share of a program's replicas that have the breaker open, by endpoint. All of them open: the dependency, or the program's own way to it. A few of many, for long: those replicas. Recorded by deploy/prometheus, without whose rules this is empty; for all instances.",
		"percentunit", []string{"max", "lastNotNull"}, query(openShare, byReplicas))), object{"max": 1})
}

func disagreement() object {
	return mostlyNone(defaults(linked(lines("Replicas that disagree", "Replicas that have refused calls for a minute which their siblings, the other replicas of the same program, make with success: a sign of a broken replica, and not of a broken dependency. What an operator forced open is not among them. Recorded by deploy/prometheus/circuit_breaker_alerts.yml.",
		"short", []string{"lastNotNull", "max"}, query(disagreeing(), byReplicas))), object{"decimals": 0}))
}

// firstToOpen goes by the log, which has the moment of every opening; a scrape would tell the order only by its interval.
func firstToOpen() object {
	p := options(logPanel("Who opened first", "Openings in the range shown, the oldest first, with the replica that opened. Replicas that a dependency takes along open within seconds of each other; one that is far ahead, or alone, has a problem of its own. Unfold a line for its outage id and for the link to its trace. Empty where nothing has opened.",
		records(`event_type="circuit_opened"`)+` | line_format "{{.service_name}} {{.service_instance_id}} {{.service}} {{.endpoint}} {{.reason}}{{if .error_type}} by {{.error_type}}{{end}} trace {{.trace_id}}"`),
		object{"sortOrder": "Ascending"})
	// From the beginning: of a thousand openings, the newest five hundred are not those asked for.
	p["targets"].([]object)[0]["direction"] = "forward"
	return p
}

func breakersByState() object {
	of := func(value string) string { return "sum(\n  " + state() + " == bool " + value + "\n)" }
	p := stacked(lines("Breakers by state", "Breakers over all instances, by state.", "short", []string{"lastNotNull", "max"},
		query(of("2"), "open"), query(of("1"), "half-open"), query(of("0"), "closed")))
	return defaults(colored(p, "open", "red", "half-open", "yellow", "closed", "green"), object{"decimals": 0})
}

func openByProgram() object {
	return defaults(lines("Open by program", "The share of its breakers that each program has open.", "percentunit", []string{"max", "lastNotNull"},
		query(aggregate("avg", "job", state()+" == bool 2"), "{{job}}")), object{"max": 1})
}

func openingsByDependency() object {
	return bars(lines("Openings", "Breakers that opened, closed to open, over all instances, by dependency.", "short", []string{"sum"},
		query(grown("service", "circuit_breaker_transitions_total", `from_state="closed"`, `to_state="open"`), "{{service}}")))
}

func blockedBy(by string) object {
	return defaults(gauge("Blocked calls", "Calls that open breakers refused in the range shown, the most first.", "short",
		now("sort_desc("+total(by, "circuit_breaker_requests_total", blocked)+")", "{{"+by+"}}")), object{"thresholds": none, "decimals": 0})
}

func failuresBy(by string) object {
	return defaults(gauge("Failed calls", "Calls that failed in the range shown, the most first.", "short",
		now("sort_desc("+total(by, "circuit_breaker_requests_total", failure)+")", "{{"+by+"}}")), object{"thresholds": none, "decimals": 0})
}

func overridesOverTime() object {
	of := func(value string) string {
		return "sum(\n  " + series("circuit_breaker_override") + " == bool " + value + "\n)"
	}
	return defaults(colored(lines("Overrides over time", "Breakers over all instances that an operator has forced open or disabled.", "short", []string{"lastNotNull", "max"},
		query(of("1"), "forced open"), query(of("2"), "disabled")), "forced open", "red", "disabled", "purple"), object{"decimals": 0})
}
