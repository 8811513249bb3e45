package main

const byBreaker = "{{service}} {{endpoint}}"

// worst is the state of a breaker over all instances: open where one of them has it open.
func worst(by string) string { return aggregate("max", by, state()) }

func overview() object {
	return newDashboard(overviewUID, "Circuit breakers / Overview",
		"All circuit breakers at a glance: what is open, what it costs, why it opened, how it recovers.",
		place(
			section{"", []line{
				{4, []object{openNow(), halfOpenNow(), shareOpenNow(), successNow(), blockedNow(), openTimeTotal(), overridesNow(), reportingNow()}},
				{8, []object{sized(8, statesNow()), statesOverTime()}},
				{7, []object{breakerTable()}},
			}},
			section{"Calls", []line{{9, []object{successOverTime(), outcomes(), blockedOverTime()}}}},
			section{"Outages", []line{
				{9, []object{transitions(), timeOpen(), fleetOpen()}},
				{7, []object{failuresInARow(), failedCalls()}},
			}},
			section{"As the alerts see it", []line{{8, []object{refusing(), failuresAsAlerted(), changes(), blockedAsAlerted()}}}},
			section{"Recovery", []line{{8, []object{sized(16, recoveryHeatmap()), recoveryQuantiles()}}}},
			section{"What happened", []line{{10, []object{eventLog()}}}},
			section{"Performance", []line{{7, []object{callRate(), blockRate(), cpu(), memory(), collectionTime()}}}},
		))
}

func openNow() object {
	return defaults(stat("Open", "Breakers (dependency and endpoint) that at least one instance has open now.", "short",
		now("sum(\n  "+worst(breakers)+" == bool 2\n)", "open")), object{"thresholds": thresholds(step{nil, "green"}, step{1, "red"})})
}

func halfOpenNow() object {
	return defaults(stat("Half-open", "Breakers that wait for a probe or for its result, and that no instance has open. One without traffic stays so until a call comes.",
		"short", now("sum(\n  "+worst(breakers)+" == bool 1\n)", "half-open")),
		object{"thresholds": thresholds(step{nil, "green"}, step{1, "yellow"})})
}

func shareOpenNow() object {
	return defaults(stat("Fleet open", "The share of all breakers of all instances that is open now. From half of them on a dependency of many is down, or the network is.",
		"percentunit", now("avg(\n  "+state()+" == bool 2\n)", "open")), object{"thresholds": ofOpen, "max": 1, "min": 0})
}

func successNow() object {
	return defaults(sparkline(stat("Success rate", "Of the calls that were let through, the share that succeeded. Blocked calls never got there and do not count. Without calls there is no rate.",
		"percentunit", query(successRate(""), "success"))), object{"thresholds": ofSuccess, "mappings": orText("no calls"), "max": 1, "min": 0})
}

func blockedNow() object {
	return defaults(sparkline(stat("Blocked", "Of all calls, the share that open breakers refused.", "percentunit", query(blockedShare(""), "blocked"))),
		object{"thresholds": ofOpen, "max": 1, "min": 0})
}

func openTimeTotal() object {
	return defaults(stat("Time open", "Time that breakers spent open in the range shown, all instances added up. It is counted in the breaker: an outage between two scrapes shows, too.",
		"s", now(total("", "circuit_breaker_open_seconds_total"), "open")), object{"thresholds": none})
}

func overridesNow() object {
	return defaults(stat("Overrides", "Breakers that an operator has forced open or disabled on some instance, and not reset. Forgotten, the one blocks all calls and the other protects from nothing.",
		"short", now("sum(\n  "+aggregate("max", breakers, series("circuit_breaker_override"))+" > bool 0\n)", "overridden")), object{"thresholds": thresholds(step{nil, "green"}, step{1, "purple"})})
}

func reportingNow() object {
	return stat("Instances", "Processes whose breakers report now. Fewer than there should be: their telemetry is gone, and nothing else here knows of them.",
		"short", now("count(\n  count by (job, instance) ("+state()+")\n)", "instances"))
}

func statesNow() object {
	p := stat("State now", "The state of each dependency's breakers, the worst over its endpoints and instances, the worst first. Click for its breakers in detail.", "none",
		now("sort_desc("+worst("service")+")", "{{service}}"))
	defaults(p, object{"mappings": states, "thresholds": ofStates, "links": []object{{
		"title": "These breakers in detail", "url": linkURL(breakerUID, "__field.labels", "service"), "targetBlank": false,
	}}})
	return options(p, object{"textMode": "value_and_name", "justifyMode": "center", "text": object{"titleSize": 16, "valueSize": 30}})
}

func statesOverTime() object {
	return linked(timeline("States", "Each breaker's state over time, the worst over its instances, the worst of each step. What opens and closes between two scrapes shows in Transitions and in Time open.",
		states, query(aggregate("max", breakers, inStep("circuit_breaker_state")), byBreaker)))
}

// breakerTable has a row a breaker.
func breakerTable() object {
	p := panel("table", "Breakers", "One row a breaker, the open and the most blocked first. Openings, failures and time open are of the range shown, rates are of now. Click for the breaker in detail.",
		"short",
		tableQuery(worst(breakers)),
		tableQuery(aggregate("avg", breakers, state()+" == bool 2")),
		tableQuery(successRate(breakers)+"\nor\n"+worst(breakers)+" * NaN"),
		tableQuery(blockedShare(breakers)),
		tableQuery(requests(breakers)),
		tableQuery(total(breakers, "circuit_breaker_transitions_total", `from_state="closed"`, `to_state="open"`)),
		tableQuery(total(breakers, "circuit_breaker_requests_total", failure)),
		tableQuery(total(breakers, "circuit_breaker_open_seconds_total")),
		tableQuery(aggregate("max", breakers, series("circuit_breaker_failures_current"))),
	)
	table(p, []string{"service", "endpoint"}, []column{
		{"A", "State", object{"mappings": states, "thresholds": ofStates, "custom.cellOptions": object{"type": "color-background", "mode": "basic"}, "custom.width": 120}},
		{"B", "Open on", object{"unit": "percentunit", "decimals": 0, "thresholds": ofOpen, "custom.cellOptions": object{"type": "color-text"}}},
		{"C", "Success", object{"unit": "percentunit", "decimals": 1, "thresholds": ofSuccess, "mappings": orText("no calls"), "custom.cellOptions": object{"type": "color-text"}}},
		{"D", "Blocked", object{"unit": "percentunit", "decimals": 1, "thresholds": ofOpen, "custom.cellOptions": object{"type": "color-text"}}},
		{"E", "Calls", object{"unit": "reqps"}},
		{"F", "Openings", object{"decimals": 0}},
		{"G", "Failures", object{"decimals": 0}},
		{"H", "Time open", object{"unit": "s", "decimals": 0}},
		{"I", "Failures in a row", object{"decimals": 0}},
	})
	override(p, "Dependency", object{"links": []object{{"title": "This breaker in detail", "url": linkURL(breakerUID, "__data.fields", "service", "endpoint"), "targetBlank": false}}})
	return options(p, object{"sortBy": []object{{"displayName": "State", "desc": true}, {"displayName": "Blocked", "desc": true}}})
}

func successOverTime() object {
	return limit(defaults(linked(lines("Success rate by breaker", "Of the calls that were let through, the share that succeeded, by breaker. Below the dashed line CircuitBreakerHighFailureRate fires. There are gaps where no call was let through: all blocked, or no traffic.",
		"percentunit", []string{"min", "lastNotNull"}, query(successRate(breakers), byBreaker))), object{"max": 1}),
		thresholds(step{nil, "red"}, step{0.9, "transparent"}))
}

func outcomes() object {
	return colored(stacked(lines("Outcomes", "Calls a second by outcome. Success and failure went to the dependency, blocked did not; ignored are those that the caller gave up.",
		"reqps", nil, query(requests("outcome"), "{{outcome}}"))),
		"success", "green", "failure", "red", "blocked", "orange", "ignored", "#8e8e8e")
}

func blockedOverTime() object {
	return defaults(linked(lines("Blocked share by breaker", "Of all calls, the share that open breakers refused, by breaker.",
		"percentunit", []string{"max", "lastNotNull"}, query(blockedShare(breakers), byBreaker))), object{"max": 1})
}

func transitions() object {
	return edges(bars(lines("Transitions by edge", "Changes of state, each counted once, over all instances. Open to half-open and back, again and again, is one outage whose probes fail; closed to open again and again is flapping.",
		"short", nil, query(grown("from_state, to_state", "circuit_breaker_transitions_total"), "{{from_state}} → {{to_state}}"))))
}

// edges gives the six transitions colours: red to open, yellow to half-open, green to closed.
func edges(p object) object {
	return colored(p,
		"closed → open", "red", "half_open → open", "dark-orange", "open → half_open", "yellow",
		"half_open → closed", "green", "open → closed", "blue", "closed → half_open", "purple")
}

func timeOpen() object {
	return defaults(linked(lines("Time open by breaker", "The share of time that each breaker was open, over its instances. From the counter of seconds: true also for outages shorter than a scrape.",
		"percentunit", []string{"mean", "max"}, query(openTime(breakers), byBreaker))), object{"max": 1})
}

func fleetOpen() object {
	return defaults(lines("Fleet open by dependency", "The share of instances that have the breaker open, by dependency. One of many is that instance's own trouble; all of them is the dependency's.",
		"percentunit", []string{"max", "lastNotNull"}, query(aggregate("avg", "service", state()+" == bool 2"), "{{service}}")), object{"max": 1})
}

// The recorded queries fold the instances away, so that only the dependency and the endpoint choose among them.
const recorded = `{service=~"$service", endpoint=~"$endpoint"}`

func refusing() object {
	return defaults(lines("Refusing calls", "The share of each breaker's instances that have been refusing calls for a minute, failed probes in between or not. CircuitBreakerOpen fires where it is not 0. Recorded by deploy/prometheus/circuit_breaker_alerts.yml, without which this is empty; for all programs and instances.",
		"percentunit", nil, query("service_endpoint:circuit_breaker_refusing:ratio"+recorded, byBreaker)), object{"max": 1})
}

func failuresAsAlerted() object {
	return limit(defaults(lines("Failure rate, 5 minutes", "Of the calls that were let through, the share that failed in 5 minutes. Above the dashed line for 2 minutes, with enough calls, CircuitBreakerHighFailureRate fires. Recorded by deploy/prometheus/circuit_breaker_alerts.yml, without which this is empty; for all programs and instances.",
		"percentunit", nil, query("service_endpoint:circuit_breaker_failures:ratio_rate5m"+recorded, byBreaker)), object{"max": 1}),
		thresholds(step{nil, "transparent"}, step{0.1, "red"}))
}

func changes() object {
	return limit(lines("Changes in 15 minutes", "Changes of state of the most restless instance of each breaker in 15 minutes, without the failed probes of a lasting outage and without an operator's. Above the dashed line CircuitBreakerFlapping fires. Recorded by deploy/prometheus/circuit_breaker_alerts.yml, without which this is empty.",
		"short", nil, query(aggregate("max", breakers, series("breaker:circuit_breaker_changes:increase15m"))+
			"\nor\n0 * "+aggregate("max", breakers, series("circuit_breaker_state")), byBreaker)), // of quiet ones nothing is recorded
		thresholds(step{nil, "transparent"}, step{6, "red"}))
}

func blockedAsAlerted() object {
	return defaults(lines("Blocked share, 5 minutes", "Of all calls, the share that open breakers refused in 5 minutes. Recorded by deploy/prometheus/circuit_breaker_alerts.yml, without which this is empty; for all programs and instances.",
		"percentunit", nil, query("service_endpoint:circuit_breaker_blocked:ratio_rate5m"+recorded, byBreaker)), object{"max": 1})
}

func failuresInARow() object {
	return defaults(linked(named(gauge("Failures in a row", "Consecutive failures now, the most over the instances. Five open a breaker unless it is configured otherwise.",
		"short", now(aggregate("max", breakers, series("circuit_breaker_failures_current")), byBreaker)))),
		object{"thresholds": thresholds(step{nil, "green"}, step{3, "orange"}, step{5, "red"}), "decimals": 0})
}

// named puts long names above the bars.
func named(p object) object { return options(p, object{"namePlacement": "top", "maxVizHeight": 60}) }

func failedCalls() object {
	return defaults(linked(named(gauge("Failed calls", "Calls that failed in the range shown, over all instances.", "short",
		now(total(breakers, "circuit_breaker_requests_total", failure), byBreaker)))), object{"thresholds": none, "decimals": 0})
}

func recoveryHeatmap() object {
	return heatmap("Recovery time", "How long outages lasted, from the first opening to the closing, reopenings included: each recovery in the step in which it came, in the bucket of its duration. The dots are exemplars, and open the trace of the call that closed the breaker. Where there was none the panel has rows and no colour.",
		"s", withExemplars(buckets(query(orNone(grown("le", recoveryBuckets)), "{{le}}"))))
}

func recoveryQuantiles() object {
	p := gauge("Recovery time, quantiles", "How long the outages that ended in the range shown had lasted. Half were shorter than p50; nine in ten than p90. A quantile lies within a bucket, whose bounds the heatmap shows. CircuitBreakerSlowRecovery fires from 300 s on.",
		"s", now(recoveryQuantile("0.5"), "p50"), now(recoveryQuantile("0.9"), "p90"), now(recoveryQuantile("0.99"), "p99"))
	return defaults(p, object{"mappings": orText("no recovery"), "thresholds": thresholds(step{nil, "green"}, step{60, "orange"}, step{300, "red"})})
}

// written is a log record in one line. Its details, with a link to the trace, unfold.
const written = ` | line_format "{{.severity_text}} {{.service}} {{.endpoint}} {{.old_state}} → {{.new_state}} {{.reason}}` +
	`{{if .observed}} {{round .observed 2}} of {{round .threshold 2}}{{end}}{{if .error_type}} by {{.error_type}}{{end}}` +
	`{{if .recovery_duration_seconds}} after {{round .recovery_duration_seconds 1}} s, {{.blocked_count}} blocked{{end}}` +
	`{{if .note}} ({{.note}}){{end}} trace {{.trace_id}}"`

func eventLog() object {
	return logPanel("Transitions", "Every change of state, newest first, with the rule that tripped, the numbers it saw and the trace of the call that caused it. Unfold a line for its outage id and for the link to its trace. Empty where nothing has changed state.",
		records(transitionEvents)+written)
}
