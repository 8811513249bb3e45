package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	mit = `MIT License

Copyright (c) 2026 Nobody

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
`
	unlicense = `This is free and unencumbered software released into the public domain.

Anyone is free to copy, modify, publish, use, compile, sell, or
distribute this software, either in source code form or as a compiled
binary, for any purpose, commercial or non-commercial, and by any
means.

In jurisdictions that recognize copyright laws, the author or authors
of this software dedicate any and all copyright interest in the
software to the public domain. We make this dedication for the benefit
of the public at large and to the detriment of our heirs and
successors. We intend this dedication to be an overt act of
relinquishment in perpetuity of all present and future rights to this
software under copyright law.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND,
EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT.
IN NO EVENT SHALL THE AUTHORS BE LIABLE FOR ANY CLAIM, DAMAGES OR
OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE,
ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR
OTHER DEALINGS IN THE SOFTWARE.

For more information, please refer to <https://unlicense.org/>
`
)

func TestALicenceThatIsNotAllowedFails(t *testing.T) {
	repo, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(repo, ".bin", "go-licenses")); err != nil {
		t.Fatal("make .bin/go-licenses builds the tool that this needs")
	}
	for name, c := range map[string]struct{ licence, told string }{
		"allowed":            {mit, ""},
		"known, not allowed": {unlicense, "Unlicense"},
		"none":               {"", "example.com/dependency"},
		"nonsense":           {"All rights reserved.\n", "example.com/dependency"},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{
				"ours/go.mod":  "module example.com/ours\n\ngo 1.26.0\n\nrequire example.com/dependency v1.0.0\n\nreplace example.com/dependency => ../dependency\n",
				"ours/o.go":    "package ours\n\nimport _ \"example.com/dependency\"\n",
				"ours/LICENSE": mit,

				"dependency/go.mod": "module example.com/dependency\n\ngo 1.26.0\n",
				"dependency/d.go":   "package dependency\n",
			}
			if c.licence != "" {
				files["dependency/LICENSE"] = c.licence
			}
			err := checkLicences(t.Context(), repo, filepath.Join(tree(t, files), "ours"), "linux")
			if c.told == "" && err != nil || c.told != "" && (err == nil || !strings.Contains(err.Error(), c.told)) {
				t.Errorf("%v, want %q", err, c.told)
			}
		})
	}
}
