package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/otelbreaker/otelbreaker/e2e/internal/stack"
	"github.com/otelbreaker/otelbreaker/internal/document"
)

// The trial message arrives by the file of the address that the document has the reader write. Slack is a server of the
// test's, and the group waits for a second, not 35.
func TestDocuments_Alertmanager(t *testing.T) {
	posts := make(chan string, 10)
	slack := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		posts <- r.URL.Path + " " + string(body)
		_, _ = io.WriteString(w, "ok")
	}))
	defer slack.Close()

	current, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	const secrets = "/etc/alertmanager/secrets"
	folder := filepath.Join(t.TempDir(), "secrets")
	address := stack.FreeAddresses(t, 1)[0]
	s := newSite(t, secrets, folder, "127.0.0.1:9093", address)
	s.Script(t, "sudo", `exec "$@"`)
	s.Script(t, "alertmanager", "exec "+filepath.Join(s.root, ".bin", "alertmanager")+
		` "$@" --storage.path=`+t.TempDir()+" --web.listen-address="+address+" --cluster.listen-address=")
	s.Script(t, "editor", `case "$1" in
*/slack_webhook) echo '`+slack.URL+`/hook' >"$1" ;;
*) sed -i -e 's|`+secrets+`|`+folder+`|' -e 's|group_wait: 35s|group_wait: 1s|' "$1" ;;
esac`)
	s.Env = append(s.Env, "EDITOR=editor", "USER="+current.Username)
	s.start(t, s.block(t, "docs/deployment.md: sudo install").Commands...)
	document.Get(t, "http://"+address+"/-/ready", contains("OK"))
	s.Run(t, s.block(t, "docs/deployment.md: amtool alert add").Commands...)
	select {
	case post := <-posts:
		for _, words := range []string{"/hook ", "CircuitBreakerOpen", "trial", "Somebody tries the way to this channel."} {
			if !strings.Contains(post, words) {
				t.Errorf("the message has no %q: %s", words, post)
			}
		}
	case <-time.After(time.Minute):
		t.Error("no message")
	}
	if info, err := os.Stat(filepath.Join(folder, "slack_webhook")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file of the address is %v (%v)", info, err)
	}
}
