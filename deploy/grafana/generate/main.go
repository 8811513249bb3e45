// Command generate writes the Grafana dashboards of deploy/grafana/dashboards: go -C deploy/grafana/generate generate. A
// test compares what it writes with what is there.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

//go:generate go run .

// object is a JSON object. Its keys are written sorted, as Grafana's own exports are.
type object = map[string]any

func main() {
	dir := flag.String("dir", "../dashboards", "folder to write the dashboards into")
	flag.Parse()
	if err := write(*dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(dir string) error {
	for name, dashboard := range dashboards() {
		content, err := render(dashboard)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// dashboards are all of them, by the names of their files.
func dashboards() map[string]object {
	return map[string]object{
		"overview.json":    overview(),
		"breaker.json":     breaker(),
		"fleet.json":       fleet(),
		"performance.json": performance(),
	}
}

func render(dashboard object) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // > in a query stays readable
	encoder.SetIndent("", "  ")
	err := encoder.Encode(dashboard)
	return b.Bytes(), err
}
