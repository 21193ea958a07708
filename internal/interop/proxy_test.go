package interop

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// unlimited bytes pass.
const unlimited = -1

// A fault is what a proxy does to one WebSocket connection.
type fault struct {
	status   int  // answer the upgrade request with this and pass nothing on
	strip    bool // pass the request on, but without the header fields of an upgrade
	up, down int  // bytes that pass after the 101, to the server and to the client
	cut      bool // then end both connections; otherwise swallow what comes
	reset    bool // cut with an RST instead of a FIN
}

// healthy lets a WebSocket through.
var healthy = fault{up: unlimited, down: unlimited}

// A proxy is an HTTP reverse proxy with faults. Plain requests pass.
type proxy struct {
	url string
	// broken is told of each connection that a fault struck.
	broken *journal[fault]
	// open lets the WebSocket connections through that are held back.
	open func()

	target   string
	fault    func(n int) fault
	held     int
	gate     chan struct{} // closed by open
	plain    *httputil.ReverseProxy
	sockets  atomic.Int64
	handlers sync.WaitGroup
	conns    connSet

	mu   sync.Mutex // guards what follows
	shut bool       // no handler may begin any more
}

// startProxy starts a proxy in front of the server at target, a host:port. The
// first held WebSocket connections wait until open is called. faults says what
// to do with the nth of them all, from 0.
func startProxy(t *testing.T, target string, held int, faults func(n int) fault) *proxy {
	t.Helper()
	transport := &http.Transport{}
	gate := make(chan struct{})
	p := &proxy{
		target: target,
		fault:  faults,
		held:   held,
		gate:   gate,
		open:   sync.OnceFunc(func() { close(gate) }),
		broken: newJournal[fault](),
		plain: &httputil.ReverseProxy{
			Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: target}) },
			Transport:     transport,
			FlushInterval: -1,
			ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
				if r.Context().Err() == nil && !errors.Is(err, io.EOF) {
					t.Logf("proxy: %s %s: %v", r.Method, r.URL.Path, err)
				}
				w.WriteHeader(http.StatusBadGateway)
			},
		},
	}
	listener := listen(t)
	server := &http.Server{Handler: p, ReadHeaderTimeout: patience}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		p.open()
		_ = server.Close()
		serving.Wait()
		p.conns.end(sever)
		p.mu.Lock()
		p.shut = true
		p.mu.Unlock()
		p.handlers.Wait()
		transport.CloseIdleConnections()
	})
	p.url = "http://" + listener.Addr().String()
	return p
}

// enter counts a handler in, unless they are being waited for.
func (p *proxy) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.shut {
		p.handlers.Add(1)
	}
	return !p.shut
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !p.enter() {
		return
	}
	defer p.handlers.Done()
	if r.Header.Get("Upgrade") == "" {
		p.plain.ServeHTTP(w, r)
		return
	}
	n := int(p.sockets.Add(1)) - 1
	if n < p.held {
		<-p.gate
	}
	f := p.fault(n)
	switch {
	case f.status != 0:
		p.broken.add(f)
		http.Error(w, "no WebSocket here", f.status)
	case f.strip:
		p.broken.add(f)
		r.Header.Del("Upgrade")
		r.Header.Del("Connection")
		p.plain.ServeHTTP(w, r)
	default:
		if err := p.tunnel(w, r, f); err != nil {
			w.WriteHeader(http.StatusBadGateway)
		}
	}
}

// tunnel passes the upgrade request on and then carries bytes until both
// sides are done. It returns an error as long as w can take an answer.
func (p *proxy) tunnel(w http.ResponseWriter, r *http.Request, f fault) error {
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return err
	}
	defer server.Close()
	defer p.conns.add(server)()
	if err := r.Write(server); err != nil {
		return err
	}
	fromServer := bufio.NewReader(server)
	answer, err := http.ReadResponse(fromServer, r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	defer client.Close()
	defer p.conns.add(client)()
	if answer.StatusCode != http.StatusSwitchingProtocols {
		_ = answer.Write(client) // the client has gone, or sees that the connection ends
		return nil
	}
	fmt.Fprintf(client, "HTTP/1.1 %s\r\n", answer.Status)
	_ = answer.Header.Write(client)
	_, _ = io.WriteString(client, "\r\n")

	// struck runs when a direction has had its bytes.
	struck := func() {
		p.broken.add(f)
		if !f.cut {
			return
		}
		for _, conn := range []net.Conn{client, server} {
			if f.reset {
				sever(conn)
			} else {
				_ = conn.Close()
			}
		}
	}
	var once sync.Once
	var pumps sync.WaitGroup
	pumps.Go(func() {
		pump(server, buffered.Reader, f.up, func() { once.Do(struck) })
		if f.up == unlimited {
			_ = server.Close()
		}
	})
	pumps.Go(func() {
		pump(client, fromServer, f.down, func() { once.Do(struck) })
		if f.down == unlimited {
			_ = client.Close()
		}
	})
	pumps.Wait()
	return nil
}

// pump copies until src ends. After limit bytes it calls struck and from then
// on only reads.
func pump(dst io.Writer, src io.Reader, limit int, struck func()) {
	if limit == 0 {
		struck()
	}
	buf := make([]byte, 16<<10)
	for {
		n, err := src.Read(buf)
		if pass := buf[:n]; limit != 0 && n > 0 {
			if limit != unlimited {
				pass = pass[:min(n, limit)]
				limit -= len(pass)
			}
			if _, werr := dst.Write(pass); werr != nil {
				return
			}
			if limit == 0 {
				struck()
			}
		}
		if err != nil {
			return
		}
	}
}
