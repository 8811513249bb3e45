package fleetsim

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// usage is what a process has taken so far.
type usage struct {
	cpu       time.Duration
	rss, peak float64 // bytes
	read      float64 // bytes, of sockets and files
}

// ticks a second, in which Linux tells the processor time.
const ticks = 100

// usageOf reads what the system tells of a process.
func usageOf(pid int) (u usage, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	for _, field := range fields[11:13] { // user and system
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return u, err
		}
		u.cpu += time.Duration(n) * time.Second / ticks
	}
	for _, file := range []string{"status", "io"} {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil {
			return u, err
		}
		for line := range strings.Lines(string(content)) {
			name, value, _ := strings.Cut(line, ":")
			number, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64) // else of no interest
			switch name {
			case "VmRSS":
				u.rss = number * 1024
			case "VmHWM":
				u.peak = number * 1024
			case "rchar":
				u.read = number
			}
		}
	}
	return u, nil
}

func usageNow(t *testing.T, pid int) usage {
	t.Helper()
	u, err := usageOf(pid)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// spare is what the machine has to have left, in GiB: others are on it.
const spare = 1.5

const gib = 1 << 30

// watch follows the memory of all processes of a rig.
type watch struct {
	mu   sync.Mutex
	pids map[string][]int   // by kind
	peak map[string]float64 // of all of a kind, in bytes
}

// watches kills all processes where they take more than -memory, or the machine has hardly any left. That ends the test.
func (r *rig) watches(t *testing.T) *watch {
	t.Helper()
	w := &watch{peak: map[string]float64{}}
	w.follow(r)
	end, ended := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { // before those that end the processes
		close(end)
		<-ended
	})
	go func() {
		defer close(ended)
		every := time.NewTicker(500 * time.Millisecond)
		defer every.Stop()
		for {
			select {
			case <-end:
				return
			case <-every.C:
			}
			total, pids := w.look()
			if total > *memory*gib || available() < spare*gib {
				t.Errorf("the processes take %.1f GiB (%v), and the machine has %.1f left: killed", total/gib, w, available()/gib)
				for _, pid := range pids {
					_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
				}
				return
			}
		}
	}()
	return w
}

// follow takes down the processes, which are others after a restart.
func (w *watch) follow(r *rig) {
	pids := map[string][]int{"Prometheus": {r.prometheus.PID()}}
	for _, g := range r.gateways {
		pids["gateways"] = append(pids["gateways"], g.PID())
	}
	for _, f := range r.fleets {
		pids["instances"] = append(pids["instances"], f.PID())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pids = pids
}

func (w *watch) look() (total float64, pids []int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for kind, all := range w.pids {
		sum := 0.0
		for _, pid := range all {
			if u, err := usageOf(pid); err == nil { // else it has ended
				sum += u.rss
				pids = append(pids, pid)
			}
		}
		w.peak[kind] = max(w.peak[kind], sum)
		total += sum
	}
	return total, pids
}

// most is the most that processes took, by kind, in GiB.
func (w *watch) most() map[string]float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]float64{}
	for kind, bytes := range w.peak {
		all[kind] = bytes / gib
	}
	return all
}

func (w *watch) String() string {
	most := w.most()
	return fmt.Sprintf("at most instances %.2f, gateways %.2f, Prometheus %.2f GiB", most["instances"], most["gateways"], most["Prometheus"])
}

// available is the memory that the machine can give, in bytes.
func available() float64 {
	content, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(content)) {
		if value, found := strings.CutPrefix(line, "MemAvailable:"); found {
			kb, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64) // 0 is too little
			return kb * 1024
		}
	}
	return 0
}

// parse reads a page of metrics.
func parse(t *testing.T, page []byte) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// sumOf adds up a metric's series, or those with a label that contains a text.
func sumOf(families map[string]*dto.MetricFamily, name, label, contains string) (sum float64) {
	for _, m := range families[name].GetMetric() {
		fits := label == ""
		for _, l := range m.GetLabel() {
			fits = fits || l.GetName() == label && strings.Contains(l.GetValue(), contains)
		}
		if fits {
			sum += m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()
		}
	}
	return sum
}
