package collector

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

const (
	grpcProtocol = "grpc"
	httpProtocol = "http/protobuf"

	otlpTimeout = 10_000 // milliseconds, as the specification has it
)

// plan is what a signal is exported by and, where that is OTLP, where to and how. Headers, compression and further
// details the exporters read from the environment themselves.
type plan struct {
	exporters []string
	grpc      bool
	url       string
	client    *http.Client // by HTTP
}

// plan reads what the environment says of s, and the options where it says nothing.
//
// The exporters could read the endpoint too, but each does it in its own way: a URL that they cannot parse is logged in
// full and replaced by localhost, "host:4317" means TLS to one and no host at all to another, and without a variable
// they try https.
func (s signal) plan(c config, log *errorLog) (plan, error) {
	exporters, err := s.exporters(c)
	if err != nil || !slices.Contains(exporters, otlpExporter) {
		return plan{exporters: exporters}, err
	}
	_, protocol := s.otlp("PROTOCOL")
	p := plan{exporters: exporters, grpc: cmp.Or(protocol, c.protocol) == grpcProtocol}
	if p.url, err = s.endpoint(p.grpc, c.endpoint); err != nil {
		return plan{}, err
	}
	certificates, err := s.tlsConfig() // by gRPC the exporter loads the files itself; this tells whether it can
	if err == nil && certificates != nil && strings.HasPrefix(p.url, "http:") {
		err = fmt.Errorf("collector: the certificate variables for %s want an endpoint with https", s)
	}
	if err != nil || p.grpc {
		return p, err
	}
	// The exporters' own transport is out of reach, and would keep idle connections for 90 s after Shutdown.
	timeout, _ := s.otlp("TIMEOUT")
	p.client = &http.Client{
		Timeout: time.Duration(intVar(timeout, otlpTimeout)) * time.Millisecond,
		Transport: &retrying{log: log, Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			ForceAttemptHTTP2:   true,
			IdleConnTimeout:     90 * time.Second,
			TLSHandshakeTimeout: 10 * time.Second,
			TLSClientConfig:     certificates,
		}},
	}
	return p, nil
}

// endpoint returns the URL that s is sent to; byOption is that of all signals where no variable gives one.
func (s signal) endpoint(grpc bool, byOption string) (string, error) {
	name, value := s.otlp("ENDPOINT")
	value = cmp.Or(strings.TrimSpace(value), byOption) // trimmed as the exporters do
	switch {
	case value == "" && grpc:
		value = "http://localhost:4317"
	case value == "":
		value = "http://localhost:4318"
	}
	u, ok := parseEndpoint(value)
	if !ok {
		return "", fmt.Errorf("collector: %s%s: want %s", name, shown(value), wantEndpoint)
	}
	if !grpc && name == "OTEL_EXPORTER_OTLP_ENDPOINT" { // a base; the variable of one signal is taken as it is
		u = u.JoinPath("v1", s.String())
	}
	return u.String(), nil
}

const wantEndpoint = "http://host:port or https://host:port, with a path at most; credentials go into OTEL_EXPORTER_OTLP_HEADERS"

func parseEndpoint(value string) (u *url.URL, ok bool) {
	u, err := url.Parse(value)
	return u, err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" &&
		u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

// shown returns as much of a bad endpoint as holds no credential for sure: a URL's scheme and host, or what was meant
// for a host and port.
func shown(endpoint string) string {
	if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
		return fmt.Sprintf("=%q", u.Scheme+"://"+u.Host)
	}
	if host, port, _ := strings.Cut(endpoint, ":"); !strings.ContainsAny(host, "@/?#%") && (port == "" || isCount(port)) {
		return fmt.Sprintf("=%q", endpoint)
	}
	return " (value not shown)"
}

// tlsConfig returns what the certificate variables ask for, nil where none is set.
func (s signal) tlsConfig() (*tls.Config, error) {
	var config *tls.Config
	if name, file := s.otlp("CERTIFICATE"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("collector: %s=%q: want a file that can be read: %w", name, file, err)
		}
		config = &tls.Config{RootCAs: x509.NewCertPool()}
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("collector: %s=%q: want a file with certificates in PEM", name, file)
		}
	}
	certName, cert := s.otlp("CLIENT_CERTIFICATE")
	keyName, key := s.otlp("CLIENT_KEY")
	if (cert == "") != (key == "") {
		return nil, fmt.Errorf("collector: %s=%q, %s=%q: want both or neither", certName, cert, keyName, key)
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("collector: %s=%q, %s=%q: want a certificate and its key in PEM: %w", certName, cert, keyName, key, err)
		}
		if config == nil {
			config = &tls.Config{}
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// retrying has the exporters try again when no connection came about, as those by gRPC do: they do so where the error
// says that it is temporary, which that of a refused connection does not. They say nothing until they give up, so each
// of these is told at once.
type retrying struct {
	*http.Transport
	log *errorLog
}

func (r *retrying) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := r.Transport.RoundTrip(req)
	if op, ok := errors.AsType[*net.OpError](err); ok && (op.Op == "dial" || op.Op == "proxyconnect") {
		r.log.add(err)
		return res, temporary{err}
	}
	return res, err
}

type temporary struct{ error }

func (temporary) Temporary() bool { return true }
func (t temporary) Unwrap() error { return t.error }
