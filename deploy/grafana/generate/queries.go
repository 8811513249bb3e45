package main

import "strings"

const (
	rateInterval = "$__rate_interval"
	// interval is the step of a panel: what is counted over it is in one bar, and in one only.
	interval = "$__interval"
	timeSpan = "$__range"
)

// chosen picks the series that the variables choose.
const chosen = `job=~"$job", service=~"$service", endpoint=~"$endpoint", instance=~"$instance"`

// breakers is what a panel shows one line of each for.
const breakers = "service, endpoint"

// series are the chosen ones of a metric.
func series(metric string, matchers ...string) string {
	return metric + "{" + strings.Join(append([]string{chosen}, matchers...), ", ") + "}"
}

func state() string { return series("circuit_breaker_state") }

// requests are calls a second, by some labels (none: all together).
func requests(by string, matchers ...string) string {
	return sum(by, "rate("+series("circuit_breaker_requests_total", matchers...)+"["+rateInterval+"])")
}

const (
	success = `outcome="success"`
	failure = `outcome="failure"`
	blocked = `outcome="blocked"`
	// judged calls say something about the dependency. The blocked ones never got there and would thin the failures out.
	judged = `outcome=~"success|failure"`
)

func sum(by, expr string) string { return aggregate("sum", by, expr) }

// inStep is the greatest value of a gauge in the step before: what was open at one scrape shows, also where a step holds
// many of them. A step as short as a scrape may hold none.
func inStep(metric string) string {
	return "(max_over_time(" + series(metric) + "[" + interval + "]) or " + series(metric) + ")"
}

func aggregate(by, labels, expr string) string {
	if labels == "" {
		return by + "(" + expr + ")"
	}
	return by + " by (" + labels + ") (" + expr + ")"
}

// successRate has no value where no call was let through.
func successRate(by string) string {
	return requests(by, success) + "\n/\n" + requests(by, judged)
}

// blockedShare is 0 where there were no calls at all.
func blockedShare(by string) string {
	return requests(by, blocked) + "\n/\n(" + requests(by) + " > 0)\nor\n0 * " + requests(by)
}

// grown is by how much counters have grown over the step before. increase() would guess at what came before the first
// sample and after the last one, and an outage is three transitions and not 3.75; and it does not see the first one of a
// series that begins with it, as the histogram of the recoveries does. So: less what it was, or less nothing where
// it was not there yet or has started anew.
func grown(by, metric string, matchers ...string) string {
	counter := series(metric, matchers...)
	return sum(by, counter+"\n- (\n  ("+counter+" offset "+interval+" <= "+counter+")\n  or\n  0 * "+counter+"\n)")
}

// total is by how much they have grown over the time that is shown. Series that began in it count from 0; those of a
// process that has ended in it still count. Of an older one increase() knows every restart, and over a long time it
// guesses at next to nothing.
func total(by, metric string, matchers ...string) string {
	counter := series(metric, matchers...)
	return sum(by, "\n  (last_over_time("+counter+"["+timeSpan+"]) unless "+counter+" offset "+timeSpan+")\n  or\n  increase("+counter+"["+timeSpan+"])\n")
}

// openTime is the share of time that breakers were open. A sample that comes late makes it a little more than all of it.
func openTime(by string) string {
	return aggregate("avg", by, "clamp_max(rate("+series("circuit_breaker_open_seconds_total")+"["+rateInterval+"]), 1)")
}

const recoveryBuckets = "circuit_breaker_recovery_duration_seconds_bucket"

// orNone is for buckets: there is no series before a breaker's first recovery, and the panel would be empty for as long
// as all is well.
func orNone(buckets string) string {
	const none = `label_replace(vector(0), "le", "BOUND", "", "")`
	return buckets + "\nor on () (\n  " + strings.Replace(none, "BOUND", "0.1", 1) + "\n  or\n  " + strings.Replace(none, "BOUND", "+Inf", 1) + "\n)"
}

// recoveryQuantile has the value NaN, not none at all, where no breaker has recovered.
func recoveryQuantile(q string) string {
	return "histogram_quantile(" + q + ",\n" + orNone(total("le", recoveryBuckets)) + "\n)"
}

// ofProcesses are the series of the processes that have the chosen breakers.
func ofProcesses(expr string) string {
	return expr + "\nand on (job, instance) " + state()
}

func processSeries(metric string) string { return metric + `{job=~"$job", instance=~"$instance"}` }

// records picks the log records of the chosen breakers. instance is no label of theirs that the two routes agree on.
func records(matchers ...string) string {
	filters := append([]string{`component="circuit_breaker"`}, matchers...)
	filters = append(filters, `service=~"$service"`, `endpoint=~"$endpoint"`)
	return `{service_name=~"$program"} | ` + strings.Join(filters, " | ")
}

const transitionEvents = `event_type=~"circuit_opened|circuit_half_open|circuit_closed|circuit_reopened|circuit_state_change"`
