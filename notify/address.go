package notify

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// checkAddress parses an address to send to. It is a secret, so what is wrong with it is told without it, and url.Parse's
// error, which quotes it, is not passed on.
func checkAddress(what, address string, plain bool) (*url.URL, error) {
	const allowed = "allowed is https://host/path and nothing around it, or http:// on loopback or with WithInsecureHTTP"
	u, err := url.Parse(address)
	switch {
	case address == "":
		return nil, fmt.Errorf("notify: %s is empty: %s", what, allowed)
	case err != nil || u.Hostname() == "":
		return nil, fmt.Errorf("notify: %s is no URL (it is a secret and not shown): %s", what, allowed)
	case u.Scheme == "http" && !plain && !loopback(u.Hostname()):
		return nil, fmt.Errorf("notify: %s has the scheme http on another host: %s", what, allowed)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("notify: %s has a scheme other than https (it is a secret and not shown): %s", what, allowed)
	}
	u.Fragment = ""
	return u, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}

// link is a button, or a field of the JSON.
type link struct{ label, template string }

// subject is what a link is about.
type subject struct{ service, endpoint, outage, trace string }

var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

// maxLink is what Slack allows in a button.
const maxLink = 3000

func checkTemplate(name, template string) error {
	const allowed = "allowed is an http or https URL without user info, with {service}, {endpoint}, {outage} and {trace} in its path, query or fragment"
	for _, p := range placeholder.FindAllString(template, -1) {
		switch p {
		case "{service}", "{endpoint}", "{outage}", "{trace}":
		default:
			return fmt.Errorf("notify: %s has the placeholder %.40q: %s", name, p, allowed)
		}
	}
	u, err := url.Parse(placeholder.ReplaceAllString(template, "x"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return fmt.Errorf("notify: %s is no such URL: %s", name, allowed)
	}
	origin, _, _ := strings.Cut(template, "://")
	rest := template[len(origin)+len("://"):]
	if host := rest[:min(len(rest), strings.IndexAny(rest+"/", "/?#"))]; strings.ContainsAny(origin+host, "{}") {
		return fmt.Errorf("notify: %s has a placeholder in its scheme or host: %s", name, allowed)
	}
	if len(template) > maxLink/2 {
		return fmt.Errorf("notify: %s has %d bytes: allowed are up to %d", name, len(template), maxLink/2)
	}
	return nil
}

// to gives the link for a subject, or "" where it needs what there is not, or would be too long.
func (l link) to(s subject) string {
	missing := false
	address := placeholder.ReplaceAllStringFunc(l.template, func(p string) string {
		var value string
		switch p {
		case "{service}":
			value = s.service
		case "{endpoint}":
			value = s.endpoint
		case "{outage}":
			value, missing = s.outage, missing || s.outage == ""
		case "{trace}":
			value, missing = s.trace, missing || s.trace == ""
		}
		return percent(value)
	})
	if missing || len(address) > maxLink {
		return ""
	}
	return address
}

// percent encodes a value so that it is one piece of a path, a query or a fragment alike. One of dots alone would mean
// another folder, also percent-encoded, so its dots become underscores.
func percent(value string) string {
	value = strings.ToValidUTF8(value, "\uFFFD")
	if strings.Trim(value, ".") == "" {
		return strings.Repeat("_", len(value))
	}
	return strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
}

// key names the link in JSON.
func (l link) key() string { return strings.ToLower(l.label) }
