package enginetest

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// Table is the figures in Markdown.
func (f Figures) Table() string {
	var out strings.Builder
	row := func(cells ...string) { out.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	row(fmt.Sprintf("%d replicas", f.Replicas), "in a fleet", "each alone")
	row("---", "---:", "---:")
	row("from an opening until another replica is open: median", shown(f.OpeningMedian), "")
	row("until the last one is", shown(f.OpeningWorst), "")
	row("probes that reach the dependency, in a recovery period of the outage", number(f.ProbesInOutage), number(f.ProbesInOutageAlone))
	row("from when it is well until all are closed", number(f.ProbesInRecovery), number(f.ProbesInRecoveryAlone))
	row("at most at a time", number(f.ProbesAtOnce), number(f.ProbesAtOnceAlone))
	row(fmt.Sprintf("from the death of the replica that probes until all others are closed (lease of %v)", lease), shown(f.Takeover), "")
	row("from the end of a partition until the third that was cut off has learned of an opening", shown(f.Healed), "")
	if f.Rejoined > 0 {
		row("from the engine's return until all share again", shown(f.Rejoined), "")
		row("after that, until the last one follows an opening", shown(f.Reopening), "")
	}
	return out.String()
}

// Write puts the table into a document, between the two markers of that engine.
func (f Figures) Write(file, engine string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	begin := "<!-- figures of " + engine + ": written by make fleet-figures -->\n"
	end := "<!-- figures of " + engine + ": end -->\n"
	before, rest, found := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return fmt.Errorf("enginetest: %s lacks the markers %q and %q", file, begin, end)
	}
	return os.WriteFile(file, []byte(before+begin+"\n"+f.Table()+"\n"+end+after), 0o644)
}

func shown(d time.Duration) string {
	if d < 100*time.Millisecond {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

func number(f float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") }
