package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const stat = `goos: linux
goarch: amd64
cpu: Some CPU, 3 GHz
cores: 2
go: go1.26.8
commit: abc
rounds: 10 of 0.3s
,results/peers.txt,
,sec/op,CI
Call/Closed/otelbreaker-2,1.5e-08,2%
Call/Closed/otelbreaker-bare-2,1.35e-08,2%
Call/Closed/gobreaker-2,1.16e-07,1%
Call/Window/otelbreaker-2,1e-07,1%
Call8/Closed/otelbreaker-2,1.6e-08,∞
Limit/harness-2,1e-09,0%
Limit/atomic-add-2,6e-09,0%
Limit/two-clock-reads-2,7e-08,0%
Collection/n=1-2,1.2e-05,3%
Collection/n=100-2,1.3e-03,3%
Collection/n=10000-2,0.4456,3%
CollectionSDK/n=1-2,1e-05,3%
CollectionSDK/n=100-2,1e-03,3%
Outage/spans-all-2,2e-05,3%
geomean,1e-08,

,results/peers.txt,
,allocs/op,CI
Call/Closed/otelbreaker-2,0,0%
Call/Rejected/otelbreaker-2,1,0%
geomean,,

,results/peers.txt,
,B/breaker,CI
Memory/Alone/consecutive-2,1000,0%
Memory/Alone/window-2,12345,0%
geomean,1000,
`

func TestTables(t *testing.T) {
	path, readme := filepath.Join(t.TempDir(), "benchmarks.md"), filepath.Join(t.TempDir(), "README.md")
	for _, path := range []string{path, readme} {
		if err := os.WriteFile(path, []byte("before\n"+begin+"old\n"+end+"after\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // what it writes it can also replace
		if err := run(strings.NewReader(stat), path, readme); err != nil {
			t.Fatal(err)
		}
	}
	short, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	const want = "before\n" + begin + `
|  | closed | from eight goroutines | rolling window | rejected | allocations |
|---|---:|---:|---:|---:|---:|
| otelbreaker | 15.0 ns ± 2% | 16.0 ns | 100 ns ± 1% | – | 0 |
| gobreaker | 116 ns ± 1% | – | – | – | – |

` + end + "after\n"
	if string(short) != want {
		t.Errorf("the README's table is\n%s\nwant\n%s", short, want)
	}
	document, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(document)
	if !strings.HasPrefix(text, "before\n"+begin) || !strings.HasSuffix(text, end+"after\n") || strings.Contains(text, "old") {
		t.Errorf("what stands around the tables is not left as it was, or the old tables are:\n%s", text)
	}
	for _, want := range []string{
		"Measured on Some CPU, 3 GHz, 2 cores, linux/amd64, go1.26.8, at commit abc, in 10 rounds of 0.3s.",
		"| closed: three bare atomic adds | 14.0 ns | 15.0 ns | yes |",
		"| closed, eight goroutines: no more than one after the other | 16.0 ns | 15.0 ns | **no** |",
		"| rolling window with rates and slow calls: two clock reads and 20 ns | 100 ns | 90.0 ns | **no** |",
		"| rejected, with the full error: 20 ns | – | – | not measured |",
		"| closed: no allocation | 0 | 0 | yes |",
		"| rejected: no allocation | 1 | 0 | **no** |",
		"| memory, consecutive failures: 1 KiB | 1000 B | 1024 B | yes |",
		"| memory, time window: 4 KiB | 12.1 KiB | 4096 B | **no** |",
		"| gobreaker | 116 ns ± 1% | – | – | – | – | – | – |",
		"| otelbreaker | 15.0 ns ± 2% | 100 ns ± 1% | – | – | – | 0 | 1 |",
		"| otelbreaker | 16.0 ns | – | – | – | – |",
		"| closed, what all the telemetry adds: 2 ns | 1.50 ns | 2.00 ns | yes |",
		"| a collection of 1: what the SDK takes alone, and a quarter | 12.0 µs | 12.5 µs | yes |",
		"| a collection of 100: what the SDK takes alone, and a quarter | 1.30 ms | 1.25 ms | **no** |",
		"| 1 | 12.0 µs ± 3% | 10.0 µs ± 3% | – | – |",
		"| 10000 | 446 ms ± 3% | – | – | – |",
		"| spans-all | 20.0 µs ± 3% | – |",
	} {
		if !strings.Contains(text, want+"\n") && !strings.Contains(text, want+" ") {
			t.Errorf("lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestBadInputIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "benchmarks.md")
	if err := os.WriteFile(path, []byte("no marks"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, input := range map[string]string{
		"no results":       "",
		"lacks the marks":  stat,
		"say their commit": strings.Replace(stat, "commit: abc\n", "", 1),
		"Limit/harness":    strings.Replace(stat, "1e-09", "fast", 1),
	} {
		err := run(strings.NewReader(input), path, path)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}
