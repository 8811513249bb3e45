package main

// The endpoint would make it too long for a legend; choose one, if there are several.
const byInstance = "{{service}} from {{job}} {{instance}}"

// one names a breaker on an instance.
const one = "service, endpoint, job, instance"

func breaker() object {
	return newDashboard(breakerUID, "Circuit breakers / Breaker",
		"One breaker, instance by instance: choose a dependency and an endpoint.",
		place(
			section{"", []line{
				{4, []object{worstNow(), openOnNow(), successNow(), blockedNow(), openingsTotal(), openTimeTotal(), rowNow(), lastFailure()}},
				{9, []object{timeline("State by instance", "The state of the breaker on each instance, the worst of each step.", states, query(inStep("circuit_breaker_state"), byInstance))}},
			}},
			section{"Calls", []line{{9, []object{outcomes(), successByInstance(), slowCalls()}}}},
			section{"Outages", []line{
				{9, []object{transitions(), timeOpenByInstance(), failuresByInstance()}},
				{8, []object{sized(16, recoveryHeatmap()), recoveryQuantiles()}},
			}},
			section{"By an operator, and what would have been", []line{{8, []object{
				sized(12, timeline("Override", "What an operator has set on each instance: forced open, or disabled, which lets all calls through and still counts.", overrides, query(inStep("circuit_breaker_override"), byInstance))),
				shadow(),
			}}}},
			section{"What happened", []line{
				{10, []object{transitionTable()}},
				{8, []object{sized(8, reasons()), failedCallLog()}},
			}},
		))
}

func worstNow() object {
	return defaults(stat("State", "The worst state of the chosen breakers on any instance.", "none", now("max("+state()+")", "state")),
		object{"mappings": states, "thresholds": ofStates})
}

func openOnNow() object {
	return defaults(stat("Open on", "On how many instances it is open now.", "short", now("sum(\n  "+state()+" == bool 2\n)", "open")),
		object{"thresholds": thresholds(step{nil, "green"}, step{1, "red"})})
}

func openingsTotal() object {
	return defaults(stat("Openings", "Outages that began in the range shown: closed to open, over all instances.", "short",
		now(total("", "circuit_breaker_transitions_total", `from_state="closed"`, `to_state="open"`), "openings")), object{"thresholds": none, "decimals": 0})
}

func rowNow() object {
	return defaults(stat("Failures in a row", "Consecutive failures now, the most on any instance. Five open a breaker unless it is configured otherwise.", "short",
		now("max("+series("circuit_breaker_failures_current")+")", "failures")), object{"thresholds": thresholds(step{nil, "green"}, step{3, "orange"}, step{5, "red"}), "decimals": 0})
}

func lastFailure() object {
	return defaults(stat("Last failure", "When a call failed last, on any instance.", "dateTimeFromNow",
		now("1000 * max("+series("circuit_breaker_last_failure_time")+")\nor on ()\nvector(NaN)", "last failure")), object{"mappings": orText("never")})
}

func successByInstance() object {
	return limit(defaults(lines("Success rate by instance", "Of the calls that were let through, the share that succeeded, by instance. There are gaps where none was.",
		"percentunit", []string{"min", "lastNotNull"}, query(successRate(one), byInstance)), object{"max": 1}),
		thresholds(step{nil, "red"}, step{0.9, "transparent"}))
}

func timeOpenByInstance() object {
	return defaults(lines("Time open by instance", "The share of time that the breaker was open on each instance.",
		"percentunit", []string{"mean", "max"}, query(openTime(one), byInstance)), object{"max": 1})
}

func failuresByInstance() object {
	return defaults(lines("Failures in a row by instance", "Consecutive failures, as they were at each scrape.",
		"short", []string{"lastNotNull", "max"}, query(series("circuit_breaker_failures_current"), byInstance)), object{"decimals": 0})
}

func shadow() object {
	return mostlyNone(bars(lines("What would have been", "While the breaker is disabled: openings that its rules would have made, and calls that it would have blocked.",
		"short", []string{"sum"},
		query(grown("", "circuit_breaker_would_open_total"), "would have opened"),
		query(grown("", "circuit_breaker_would_block_total"), "would have blocked"))))
}

// transitionTable is the log of the transitions in columns.
func transitionTable() object {
	p := panel("table", "Transitions", "Every change of state, newest first: the rule, what it saw against what threshold, what the call failed of, and the trace of that call. Empty where nothing has changed state.",
		"none", lokiQuery(records(transitionEvents), ""))
	p["targets"].([]object)[0]["maxLines"] = 200
	keep := []struct{ field, name string }{
		{"Time", "Time"}, {"service", "Dependency"}, {"endpoint", "Endpoint"}, {"new_state", "To"}, {"old_state", "From"}, {"reason", "Reason"},
		{"observed", "Observed"}, {"threshold", "Threshold"}, {"error_type", "Error"}, {"blocked_count", "Blocked"},
		{"recovery_duration_seconds", "Recovery"}, {"note", "Note"}, {"outage_id", "Outage"}, {"trace_id", "Trace"},
	}
	var include []string
	order, rename := object{}, object{}
	for i, k := range keep {
		include = append(include, k.field)
		order[k.field], rename[k.field] = i, k.name
	}
	p["transformations"] = []object{
		{"id": "extractFields", "options": object{"source": "labels", "format": "json", "replace": false, "keepTime": false}},
		{"id": "filterFieldsByName", "options": object{"include": object{"names": include}}},
		{"id": "organize", "options": object{"indexByName": order, "renameByName": rename, "excludeByName": object{}, "includeByName": object{}}},
	}
	custom(p, object{"minWidth": 80, "align": "auto", "cellOptions": object{"type": "auto"}, "inspect": false, "filterable": false})
	options(p, object{"showHeader": true, "cellHeight": "sm", "frameIndex": 0, "footer": object{"show": false, "reducer": []string{"sum"}, "countRows": false, "fields": []string{}},
		"sortBy": []object{{"displayName": "Time", "desc": true}}})
	colors := []object{{"type": "value", "options": object{
		"closed": object{"index": 0, "text": "CLOSED", "color": "green"}, "half_open": object{"index": 1, "text": "HALF_OPEN", "color": "yellow"},
		"open": object{"index": 2, "text": "OPEN", "color": "red"}}}}
	override(p, "To", object{"mappings": colors, "custom.cellOptions": object{"type": "color-background", "mode": "basic"}, "custom.width": 105})
	override(p, "From", object{"mappings": colors, "custom.cellOptions": object{"type": "color-text"}, "custom.width": 105})
	override(p, "Recovery", object{"unit": "s", "decimals": 1})
	override(p, "Observed", object{"decimals": 2})
	override(p, "Threshold", object{"decimals": 2})
	for _, c := range []struct {
		name  string
		width int
	}{{"Time", 165}, {"Dependency", 130}, {"Endpoint", 200}, {"Reason", 165}, {"Outage", 150}} {
		override(p, c.name, object{"custom.width": c.width})
	}
	return override(p, "Trace", object{"links": []object{{"title": "Open the trace", "url": traceURL("${traces}", "${__value.raw}"), "targetBlank": false}}})
}

func reasons() object {
	return bars(lines("Reasons", "Changes of state by the rule that made them, from the log.", "short", nil,
		lokiQuery("sum by (reason) (count_over_time("+records(transitionEvents)+" ["+interval+"]))\nor on ()\n"+`label_replace(vector(0), "reason", "none", "", "")`, "{{reason}}")))
}

func failedCallLog() object {
	return logPanel("Failed calls", "The calls that failed, with what they failed of: the pattern before an opening. Only of programs that ask for it (logs.WithFailures); empty otherwise, and where no call failed.",
		records(`event_type="call_failed"`)+` | line_format "{{.service}} {{.endpoint}} {{.error_type}} while {{.state}}{{if .held_back}} and {{.held_back}} more{{end}}{{if .trace_id}} trace {{.trace_id}}{{end}}"`)
}
