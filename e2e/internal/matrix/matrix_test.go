package matrix

import (
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	incidents, alerts := []string{"outage", "noise"}, []string{"Open", "Rate"}
	want := func() Matrix { return Matrix{"outage": {"Open": Paged, "Rate": Fired}, "noise": {}} }
	for _, test := range []struct {
		what   string
		change func(want, got Matrix)
		say    string // "": no difference
	}{
		{"as it should be", func(_, _ Matrix) {}, ""},
		{"an alert that does not fire", func(_, got Matrix) { delete(got["outage"], "Open") }, "outage: Open silent, want paged"},
		{"one that fires and tells nobody", func(_, got Matrix) { got["outage"]["Open"] = Fired }, "outage: Open fired and told nobody, want paged"},
		{"one that tells where another has", func(_, got Matrix) { got["outage"]["Rate"] = Paged }, "outage: Rate paged, want fired and told nobody"},
		{"one that fires of noise", func(_, got Matrix) { got.Set("noise", "Open", Fired) }, "noise: Open fired and told nobody, want silent"},
		{"no incident at all", func(_, got Matrix) { delete(got, "outage") }, "outage: Open silent, want paged"},
		{"an alert that nothing tests", func(want, got Matrix) { delete(want["outage"], "Rate"); delete(got["outage"], "Rate") }, "Rate is not tested"},
		{"an alert that is gone", func(want, _ Matrix) { want["outage"]["Gone"] = Paged }, "there is no alert Gone"},
		{"one that nobody knows", func(_, got Matrix) { got.Set("outage", "New", Fired) }, "there is no alert New"},
		{"an incident that nobody knows", func(_, got Matrix) { got.Set("other", "Open", Fired) }, "other: there is no such incident"},
		{"one that may fire", func(want, got Matrix) { want["noise"]["Rate"] = Held; got.Set("noise", "Rate", Fired) }, ""},
		{"one that may fire, and does not", func(want, _ Matrix) { want["noise"]["Rate"] = Held }, ""},
		{"one that may fire, and tells", func(want, got Matrix) { want["noise"]["Rate"] = Held; got.Set("noise", "Rate", Paged) }, "noise: Rate paged, want nobody told"},
		{"an incident without a row", func(want, got Matrix) { delete(want, "noise") }, "noise: nothing is said"},
	} {
		t.Run(test.what, func(t *testing.T) {
			w, g := want(), want()
			test.change(w, g)
			got := strings.Join(Diff(w, g, incidents, alerts), "\n")
			if (got == "") != (test.say == "") || !strings.Contains(got, test.say) {
				t.Errorf("got %q, want %q", got, test.say)
			}
		})
	}
}

func TestSet_Raises(t *testing.T) {
	m := Matrix{}
	m.Set("a", "b", Paged)
	m.Set("a", "b", Fired)
	if m["a"]["b"] != Paged {
		t.Errorf("got %v, want paged", m["a"]["b"])
	}
}

func TestTable(t *testing.T) {
	got := Table(Matrix{"outage": {"CBOpen": Paged, "CBRate": Fired}}, []string{"outage", "noise"}, []string{"CBOpen", "CBRate"}, "CB")
	want := "| incident | Open | Rate |\n|---|---|---|\n| outage | **page** | fires |\n| noise | | |\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
