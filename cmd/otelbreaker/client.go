package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/otelbreaker/otelbreaker/internal/cli"
)

const (
	defaultURL = "http://127.0.0.1:8080"

	urlVariable       = "OTELBREAKER_URL"
	tokenVariable     = "OTELBREAKER_TOKEN"
	tokenFileVariable = "OTELBREAKER_TOKEN_FILE"

	maxPage  = 64 << 20
	maxToken = 4 << 10
)

// client speaks with a program.
type client struct {
	url, healthPath, controlPath string
	tokenFile                    string
	insecure                     bool
	timeout                      time.Duration
	json                         bool
}

// page is what is used of the health page.
type page struct {
	Timestamp       time.Time                   `json:"timestamp"`
	CircuitBreakers map[string]map[string]entry `json:"circuit_breakers"`
}

type entry struct {
	State               string     `json:"state"`
	Override            string     `json:"override"`
	OverrideNote        string     `json:"override_note"`
	SuccessCount        uint64     `json:"success_count"`
	FailureCount        uint64     `json:"failure_count"`
	BlockedCount        uint64     `json:"blocked_count"`
	ConsecutiveFailures int        `json:"consecutive_failures"`
	LastFailureTime     *time.Time `json:"last_failure_time"`
	NextProbeInSeconds  *float64   `json:"next_probe_in_seconds"`
	Performance         struct {
		RequestsPerSecond float64 `json:"requests_per_second"`
		BlockRate         float64 `json:"block_rate"`
	} `json:"performance"`
	LastTransitions []transition `json:"last_transitions"`
}

type transition struct {
	Time      time.Time `json:"time"`
	OldState  string    `json:"old_state"`
	NewState  string    `json:"new_state"`
	Reason    string    `json:"reason"`
	Note      string    `json:"note,omitempty"`
	ErrorType string    `json:"error.type,omitempty"`
	OutageID  string    `json:"outage_id,omitempty"`
	TraceID   string    `json:"trace_id,omitempty"`
}

// base gives the URL of the program.
func (c *client) base() (*url.URL, error) {
	text, source := c.url, "--url"
	if text == "" {
		text, source = os.Getenv(urlVariable), urlVariable
	}
	if text == "" {
		text = defaultURL
	}
	u, err := url.Parse(text)
	if err == nil && u.User != nil { // and so in the list of processes, or in an error
		return nil, cli.Wrong("%s holds a user or a password: allowed is a URL without; the token comes by --token-file or %s", source, tokenVariable)
	}
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, cli.Wrong("%s: allowed is http://host[:port] or https://host[:port], with a path before those of --health-path and --control-path", source)
	}
	return u, nil
}

// health asks for the health page, of some breakers only where a filter says so. It also gives the page as it came.
func (c *client) health(ctx context.Context, filter url.Values) (page, []byte, error) {
	base, err := c.base()
	if err != nil {
		return page{}, nil, err
	}
	at := base.JoinPath(c.healthPath)
	at.RawQuery = filter.Encode()
	status, body, err := c.do(ctx, http.MethodGet, at, nil, "")
	if err != nil {
		return page{}, nil, err
	}
	switch status {
	case http.StatusOK:
	case http.StatusBadRequest:
		return page{}, nil, cli.Wrong("%s", inert(strings.TrimSpace(string(body))))
	default:
		return page{}, nil, fmt.Errorf("%s answers %d: is that where health.Handler is mounted? --url and --health-path say where to ask",
			withoutQuery(at), status)
	}
	var p page
	if err := json.Unmarshal(body, &p); err != nil || p.CircuitBreakers == nil {
		return page{}, nil, fmt.Errorf("%s does not answer with a health page; --url and --health-path say where to ask", withoutQuery(at))
	}
	return p, body, nil
}

// operate sends an order to the control, and gives the answer as it came.
func (c *client) operate(ctx context.Context, order map[string]any) ([]byte, error) {
	base, err := c.base()
	if err != nil {
		return nil, err
	}
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	at := base.JoinPath(c.controlPath)
	if at.Scheme == "http" && !onThisMachine(at.Hostname()) && !c.insecure {
		return nil, cli.Wrong("the token would go to %s unencrypted: use https, or --insecure where the network is trusted", at.Host)
	}
	body, err := json.Marshal(order)
	if err != nil {
		return nil, err
	}
	status, answer, err := c.do(ctx, http.MethodPost, at, body, token)
	if err != nil {
		return nil, err
	}
	var refusal struct{ Error string }
	understood := json.Unmarshal(answer, &refusal) == nil
	switch {
	case status == http.StatusOK && understood:
		return answer, nil
	case status == http.StatusUnauthorized:
		return nil, &cli.Error{Code: exitRefused, Err: fmt.Errorf("the token was not accepted; check --token-file, %s or %s", tokenFileVariable, tokenVariable)}
	case status == http.StatusTooManyRequests:
		return nil, &cli.Error{Code: exitRefused, Err: errors.New("too many attempts with a wrong token came from here; try again in a minute")}
	case status == http.StatusForbidden && understood && refusal.Error != "":
		return nil, &cli.Error{Code: exitRefused, Err: errors.New(inert(refusal.Error))}
	case status == http.StatusNotFound && understood && refusal.Error != "":
		return nil, &cli.Error{Code: exitNotFound, Err: errors.New(inert(refusal.Error))}
	case understood && refusal.Error != "":
		return nil, errors.New(inert(refusal.Error))
	default:
		return nil, fmt.Errorf("%s answers %d: is that where control.Handler is mounted? --url and --control-path say where to ask", withoutQuery(at), status)
	}
}

// token reads the token, from where it is in no list of processes.
func (c *client) token() (string, error) {
	path := c.tokenFile
	if path == "" {
		path = os.Getenv(tokenFileVariable)
	}
	if path == "" {
		if token := os.Getenv(tokenVariable); token != "" {
			return checked(token, tokenVariable)
		}
		return "", &cli.Error{Code: exitRefused, Err: fmt.Errorf("there is no token: give --token-file, or set %s or %s", tokenFileVariable, tokenVariable)}
	}
	file, err := os.Open(path)
	if err != nil {
		return "", cli.Wrong("the token file: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxToken))
	if err != nil {
		return "", cli.Wrong("the token file: %w", err)
	}
	return checked(strings.TrimSpace(string(text)), path)
}

// checked refuses what is no token before it goes anywhere, without telling what it is.
func checked(token, source string) (string, error) {
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", cli.Wrong("%s: allowed is one token alone, of letters, digits and -._~+/=", source)
	}
	return token, nil
}

// do makes one request and reads its answer, bounded in time and length. It follows no redirection: the token is for
// whom it was given.
func (c *client) do(ctx context.Context, method string, at *url.URL, body []byte, token string) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("no answer within %v; --timeout says how long it may take", c.timeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, at.String(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "otelbreaker")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+token)
	}
	once := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := once.Do(req)
	if err == nil {
		defer res.Body.Close()
		answer, err = io.ReadAll(io.LimitReader(res.Body, maxPage+1))
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return 0, nil, fmt.Errorf("%s: %w", withoutQuery(at), cause)
		}
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err // without the URL, which has been said
		}
		return 0, nil, fmt.Errorf("%s: %w; is the program running? --url or %s say where to ask", withoutQuery(at), err, urlVariable)
	}
	if len(answer) > maxPage {
		return 0, nil, fmt.Errorf("%s answers with more than %d bytes", withoutQuery(at), maxPage)
	}
	if media, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); res.StatusCode == http.StatusOK && (err != nil || media != "application/json") {
		answer = nil // a page for people, of something else
	}
	return res.StatusCode, answer, nil
}

func withoutQuery(u *url.URL) string {
	short := *u
	short.RawQuery = ""
	return short.String()
}

func onThisMachine(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost") || strings.HasSuffix(strings.ToLower(host), ".localhost")
}
