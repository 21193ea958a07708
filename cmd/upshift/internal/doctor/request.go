package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"
)

// An answer is what came back for a request.
type answer struct {
	status int
	header http.Header
	body   string
	took   time.Duration
}

// refusal is the JSON with which Engine.IO servers refuse a request.
type refusal struct {
	Code    *int   `json:"code"`
	Message string `json:"message"`
}

func (a *answer) refusal() (refusal, bool) {
	var r refusal
	err := json.Unmarshal([]byte(a.body), &r)
	return r, err == nil && r.Code != nil
}

// text is the answer for a person.
func (a *answer) text() string {
	const most = 120
	body := strings.Join(strings.Fields(a.body), " ")
	if len(body) > most {
		body = body[:most] + "…"
	}
	return strings.TrimSpace(fmt.Sprintf("status %d %s", a.status, body))
}

// A caller makes requests as one client does. Each goes over a connection of its own,
// so that it may be sent anywhere.
type caller struct {
	p      *patient
	client *http.Client
}

func (p *patient) caller(cookies bool) *caller {
	c := &caller{p: p, client: &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: p.o.TLS, Proxy: http.ProxyFromEnvironment},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if cookies {
		c.client.Jar, _ = cookiejar.New(nil) // it never fails
	}
	return c
}

// do makes a request with a timeout of its own.
func (c *caller) do(ctx context.Context, timeout time.Duration, method, path string, query url.Values, body []byte, header http.Header) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := c.request(ctx, method, path, query, bytes.NewReader(body), header)
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	}
	began := time.Now()
	response, err := c.client.Do(request)
	if err != nil {
		return &answer{took: time.Since(began)}, err //nolint:wrapcheck // it says which request
	}
	defer func() { _ = response.Body.Close() }()
	const most = 1 << 20
	text, err := io.ReadAll(io.LimitReader(response.Body, most))
	return &answer{response.StatusCode, response.Header, string(text), time.Since(began)}, err //nolint:wrapcheck // the same
}

// request makes a request, as it is to be sent.
func (c *caller) request(ctx context.Context, method, path string, query url.Values, body io.Reader, header http.Header) (*http.Request, error) {
	target := *c.p.base
	target.Path = path
	// In the order of clients, which add what is theirs.
	target.RawQuery = strings.TrimSuffix(query.Encode()+"&"+target.RawQuery, "&")
	request, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return nil, fmt.Errorf("doctor: %w", err)
	}
	for _, h := range []http.Header{c.p.o.Header, header} {
		maps.Copy(request.Header, h)
	}
	if host := c.p.o.Header.Get("Host"); host != "" {
		request.Host = host
	}
	return request, nil
}

// A session is one of polling.
type session struct {
	*caller
	sid string
}

// open opens one.
func (c *caller) open(ctx context.Context) (*session, *answer, error) {
	a, err := c.do(ctx, c.p.o.Timeout, http.MethodGet, c.p.base.Path, query("", "polling"), nil, nil)
	if err != nil {
		return nil, a, err
	}
	hello, fault := readHandshake(a.body)
	if a.status != http.StatusOK || fault != nil {
		return nil, a, nil
	}
	return &session{c, hello.SID}, a, nil
}

func query(sid, transport string) url.Values {
	q := url.Values{"EIO": {"4"}, "transport": {transport}}
	if sid != "" {
		q.Set("sid", sid)
	}
	return q
}

func (s *session) post(ctx context.Context, body string) (*answer, error) {
	return s.do(ctx, s.p.o.Timeout, http.MethodPost, s.p.base.Path, query(s.sid, "polling"), []byte(body), nil)
}

func (s *session) poll(ctx context.Context, timeout time.Duration) (*answer, error) {
	return s.do(ctx, timeout, http.MethodGet, s.p.base.Path, query(s.sid, "polling"), nil, nil)
}

// end closes the session.
func (s *session) end(ctx context.Context) { _, _ = s.post(ctx, "1") }

// join asks for the main namespace, as the request is written.
func (p *patient) join() string { return "40" + p.o.Auth }
