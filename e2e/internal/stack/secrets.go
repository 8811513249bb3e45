package stack

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
)

// secretFile is a setting of Alertmanager's that names a file with the address of a webhook.
var secretFile = regexp.MustCompile(`(?m)^(\s*(?:- )?(?:slack_api_url_file|api_url_file):\s*)['"]?([^'"\s#]+)['"]?`)

// writeSecrets writes webhook to every file that the Alertmanager configuration in dir takes one from. Names of files
// are relative to the configuration; one that is absolute is taken into dir, so that nothing is written elsewhere.
func writeSecrets(dir, webhook string) error {
	config := filepath.Join(dir, "alertmanager.yml")
	content, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	if !secretFile.Match(content) {
		return errors.New("deploy/alertmanager/alertmanager.yml names no file with a webhook's address")
	}
	content = secretFile.ReplaceAllFunc(content, func(setting []byte) []byte {
		parts := secretFile.FindSubmatch(setting)
		file := string(parts[2])
		if filepath.IsAbs(file) {
			file = filepath.Base(file)
		}
		path := filepath.Join(dir, file)
		err = errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(webhook), 0o600))
		return append(parts[1], file...)
	})
	return errors.Join(err, os.WriteFile(config, content, 0o600))
}
