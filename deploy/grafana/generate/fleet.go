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
