package main

const byProcess = "{{job}} {{instance}}"

func performance() object {
	return newDashboard(performanceUID, "Circuit breakers / Performance",
		"What the calls, the processes and the telemetry cost, and whether any of the telemetry is lost.",
		place(
			section{"Calls", []line{{9, []object{callRate(), blockRate(), slowCalls()}}}},
			section{"Processes", []line{
				{9, []object{cpu(), memory(), heap()}},
				{9, []object{goroutines(), allocations(), instancesReporting()}},
			}},
			section{"Collection", []line{{9, []object{collectionTime(), collected(), seriesOfBreakers()}}}},
			section{"Telemetry that was lost", []line{{9, []object{eventsDropped(), exportsFailed(), exportsDropped()}}}},
		))
}

func callRate() object {
	return lines("Requests per second", "Calls a second that came to the breakers, blocked ones included, by program.",
		"reqps", nil, query(requests("job"), "{{job}}"))
}

func blockRate() object {
	return mostlyNone(lines("Block rate", "Calls a second that open breakers refused, by program.",
		"reqps", nil, query(requests("job", blocked), "{{job}}")))
}

func slowCalls() object {
	return mostlyNone(lines("Slow calls", "Calls a second that took longer than the slow-call duration of their breaker, failed ones too; 0 where none is configured.",
		"reqps", []string{"lastNotNull", "max"},
		query(sum(breakers, "rate("+series("circuit_breaker_slow_calls_total")+"["+rateInterval+"])")+"\nor\n0 * "+worst(breakers), byBreaker)))
}

func cpu() object {
	return lines("CPU", "Processor time of each process that has breakers, user and system together; 100 % is one core.",
		"percentunit", nil,
		query(sum("job, instance", ofProcesses("rate("+processSeries("process_cpu_time_seconds_total")+"["+rateInterval+"])")), byProcess))
}

func memory() object {
	return lines("Memory", "Resident memory of each process that has breakers.",
		"bytes", nil, query(ofProcesses(sum("job, instance", processSeries("process_memory_usage_bytes"))), byProcess))
}

func heap() object {
	return lines("Go memory", "What the Go runtime uses, of which the heap is the greater part.",
		"bytes", []string{"lastNotNull", "max"}, query(ofProcesses(sum("job, instance", processSeries("go_memory_used_bytes"))), byProcess))
}

func goroutines() object {
	return lines("Goroutines", "Goroutines of each process. A breaker has none while it is closed.",
		"short", []string{"lastNotNull", "max"}, query(ofProcesses(sum("job, instance", processSeries("go_goroutine_count"))), byProcess))
}

func allocations() object {
	return lines("Allocation", "Bytes allocated a second. A call through a closed breaker allocates nothing.",
		"Bps", []string{"lastNotNull", "max"},
		query(ofProcesses(sum("job, instance", "rate("+processSeries("go_memory_allocated_bytes_total")+"["+rateInterval+"])")), byProcess))
}

func instancesReporting() object {
	return defaults(lines("Instances by program", "Processes whose breakers report, by program. A step down is a process that has ended, or whose telemetry has.",
		"short", []string{"lastNotNull", "min"}, query("count by (job) (\n  count by (job, instance) ("+state()+")\n)", "{{job}}")), object{"decimals": 0})
}

// scraped picks what a scrape tells of the targets that the breakers came from: the processes themselves, and the
// collectors, by the name of their scrape configuration in ../../prometheus/prometheus.yml.
func scraped(metric string) string {
	return "(\n  " + metric + `{job=~"$job", instance=~"$instance"} and on (job, instance) ` + state() + "\n)\nor\n" + metric + `{job="collectors"}`
}

func collectionTime() object {
	return lines("Collection time", "How long the scrape of each process, or of the collector that its metrics go through, took. With metrics that are pushed to Prometheus nothing is scraped, and there is no such time.",
		"s", nil, query(scraped("scrape_duration_seconds"), byProcess))
}

func collected() object {
	return lines("Samples per scrape", "How many samples a scrape of each process, or of its collector, brought.",
		"short", []string{"lastNotNull", "max"}, query(scraped("scrape_samples_scraped"), byProcess))
}

func seriesOfBreakers() object {
	return lines("Breakers per process", "Breakers that each process reports; each has 19 series, and 16 more once it has recovered. A group makes 256 at most unless told otherwise.",
		"short", []string{"lastNotNull", "max"}, query(aggregate("count", "job, instance", state()), byProcess))
}

func eventsDropped() object {
	return mostlyNone(defaults(bars(lines("Events dropped", "Events that listeners (log records, spans, notifications) were too slow for, by dependency. The counts and the state are right all the same.",
		"short", []string{"sum"}, query(grown("service", "circuit_breaker_events_dropped_total"), "{{service}}"))), object{"decimals": 0}))
}

// lostBy is what the pipeline of package collector counts, 0 where it sends nothing.
func lostBy(metric string) string {
	return sum("job, signal, exporter", ofProcesses("rate("+processSeries(metric)+"["+rateInterval+"])")) +
		"\nor on ()\n" + `label_replace(vector(0), "job", "nothing is sent", "", "")`
}

func exportsFailed() object {
	return mostlyNone(lines("Exports that failed", "Exports a second that failed, after retries, by signal.", "ops", []string{"lastNotNull", "max"},
		query(lostBy("otelbreaker_export_failures_total"), "{{job}} {{signal}} {{exporter}}")))
}

func exportsDropped() object {
	return mostlyNone(lines("Telemetry not delivered", "Spans, log records and data points a second that were not delivered: queue full, export failed, or rejected. Metrics come again with the next export, the other two are lost.",
		"ops", []string{"lastNotNull", "max"}, query(lostBy("otelbreaker_export_dropped_total"), "{{job}} {{signal}} {{exporter}}")))
}
