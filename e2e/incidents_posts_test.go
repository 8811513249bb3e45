package e2e

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/e2e/internal/incident"
	"github.com/otelbreaker/otelbreaker/e2e/internal/matrix"
	"github.com/otelbreaker/otelbreaker/e2e/internal/receiver"
)

// notification is what a post says of one alert. The fields of a post are those of its first alert.
type notification struct {
	alert, incident, route string
	resolved, first        bool
	receiver.Post
}

var (
	anAlert     = regexp.MustCompile(`(?m)^\*(CircuitBreaker\w+)\* (is over after)?`)
	someStates  = regexp.MustCompile(`^(before the end: )?([0-9]+) open, ([0-9]+) half-open, ([0-9]+) closed$`)
	someFailure = regexp.MustCompile(`^(0|about [1-9][0-9]*) in 5 minutes, [0-9]+ in a row$`)
)

// field is a field's value, or "".
func field(p receiver.Post, title string) string {
	for _, a := range p.Attachments {
		for _, f := range a.Fields {
			if f.Title == title {
				return f.Value
			}
		}
	}
	return ""
}

// link is a button's, or "".
func link(p receiver.Post, text string) string {
	for _, a := range p.Attachments {
		for _, b := range a.Actions {
			if b.Text == text {
				return b.URL
			}
		}
	}
	return ""
}

// notifications are what was posted so far.
func (th *theatre) notifications(t *testing.T) (all []notification) {
	t.Helper()
	posts, err := th.slack.Posts()
	if err != nil {
		t.Fatalf("Slack would not take what was posted: %v", err)
	}
	for _, post := range posts {
		n := notification{incident: field(post, "Service"), Post: post, first: true}
		for _, route := range routes {
			if strings.Contains(post.Words(), "."+route+".") || strings.Contains(post.Words(), shop(route)) {
				n.route = route
			}
		}
		for _, said := range anAlert.FindAllStringSubmatch(post.Attachments[0].Text, -1) {
			n.alert, n.resolved = said[1], said[2] != ""
			all = append(all, n)
			n.first = false
		}
	}
	return all
}

// criticals are the alerts that have to go to the channel of incidents; all others go to that of alerts.
var criticals = []string{fleetOpen, flapping, stuckOpen, notRecovering}

// checkPosts checks what the notifications say.
func (th *theatre) checkPosts(t *testing.T, accounts map[string]incident.Account) {
	all := th.notifications(t)
	for _, n := range all {
		if n.first {
			checkPost(t, n)
		}
	}
	for _, route := range routes {
		for _, name := range order {
			for alert, cell := range expected[name] {
				if cell != matrix.Paged {
					continue
				}
				if !slices.ContainsFunc(all, func(n notification) bool {
					return n.route == route && n.incident == name && n.alert == alert && !n.resolved && n.first
				}) {
					t.Errorf("%s: no post has %s of %s in its fields", route, alert, name)
				}
			}
		}
		// What is over is told to be, with the time that it took.
		for name, alert := range map[string]string{incident.CleanOutage: open, incident.SlowRecovery: open, incident.FleetOutage: fleetOpen} {
			checkResolved(t, all, route, name, alert, accounts[route])
		}
	}
	t.Logf("%d notifications", len(all))
}

// checkPost checks the words of a post about its first alert.
func checkPost(t *testing.T, n notification) {
	t.Helper()
	wrong := func(what string) {
		t.Errorf("%s: %s of %s (resolved: %t): %s in:\n%s", n.route, n.alert, n.incident, n.resolved, what, n.Words())
	}
	endpoint := field(n.Post, "Endpoint")
	states, failures := someStates.FindStringSubmatch(field(n.Post, "State")), field(n.Post, "Failures")
	switch {
	case n.alert == telemetryGone:
		if endpoint != "all" || !strings.Contains(field(n.Post, "State"), "unknown") {
			wrong("what is known of a process that is gone")
		}
	case endpoint != incident.Endpoint(n.incident, n.route):
		wrong("another endpoint")
	case states == nil:
		wrong("no states")
	case n.alert == open && !n.resolved && states[2] == "0" && states[3] == "0":
		wrong("open, and all are closed")
	case !someFailure.MatchString(failures):
		wrong("no count of failures")
	case slices.Contains([]string{open, fleetOpen}, n.alert) && !n.resolved && strings.HasPrefix(failures, "0 ") && n.incident != incident.ForgottenOpen:
		wrong("no failures")
	}
	dashboard := map[bool]string{true: "otelbreaker-fleet", false: "otelbreaker-overview"}[n.alert == disagree]
	if !strings.Contains(link(n.Post, "Dashboard"), "/d/"+dashboard+"?var-service="+n.incident) {
		wrong("no link to the dashboard of the service")
	}
	if !strings.HasSuffix(link(n.Post, "Runbook"), "/docs/runbooks/"+n.alert+".md") {
		wrong("no link to the runbook")
	}
	if want := map[bool]string{true: "#incidents", false: "#alerts"}[slices.Contains(criticals, n.alert)]; n.Channel != want {
		wrong("sent to " + n.Channel + " instead of " + want)
	}
}

// checkResolved finds that an alert was told to be over, and how long the outage took: within what the annotation may
// be late, two exports and an evaluation.
func checkResolved(t *testing.T, all []notification, route, name, alert string, account incident.Account) {
	t.Helper()
	var took time.Duration
	for _, tr := range account.Transitions {
		if tr.Script == name && tr.Event == "circuit_closed" {
			took = max(took, tr.Recovery)
		}
	}
	over := regexp.MustCompile(`\*` + alert + `\* is over after .*; outage, as sampled: ([0-9a-z. ]+)\.`)
	for _, n := range all {
		if n.route != route || n.incident != name || n.alert != alert || !n.resolved {
			continue
		}
		found := over.FindStringSubmatch(n.Attachments[0].Text)
		if found == nil {
			t.Errorf("%s: the end of %s of %s is told without a recovery time:\n%s", route, alert, name, n.Words())
			return
		}
		said, err := time.ParseDuration(strings.ReplaceAll(found[1], " ", ""))
		if err != nil || said < took-minutes(2.5) || said > took+minutes(0.75) {
			t.Errorf("%s: the end of %s of %s is told with a recovery time of %q, want some %v", route, alert, name, found[1], took)
		}
		return
	}
	t.Errorf("%s: nobody was told that %s of %s is over", route, alert, name)
}
