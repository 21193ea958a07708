package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// A poller is a session on polling: one connection for polls and one for posts,
// as a browser would have them.
type poller struct {
	path        string // with the session's id
	polls, post httpConn
}

// An httpConn is a connection that is kept alive, and speaks just enough HTTP.
type httpConn struct {
	conn net.Conn
	r    *bufio.Reader
}

func dialHTTP(addr string) (h httpConn, err error) {
	h.conn, err = net.DialTimeout("tcp", addr, patience)
	if err == nil {
		h.r = bufio.NewReaderSize(h.conn, 4096)
		err = h.conn.SetDeadline(time.Now().Add(patience))
	}
	return h, err
}

// request is a request as it is on the wire.
func request(method, path, body string) []byte {
	head := method + " " + path + " HTTP/1.1\r\nHost: bench\r\n"
	if method == "POST" {
		head += "Content-Type: text/plain;charset=UTF-8\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	return []byte(head + "\r\n" + body)
}

// do sends a request and returns the body of the answer, valid until the next.
func (h *httpConn) do(request []byte) ([]byte, error) {
	if _, err := h.conn.Write(request); err != nil {
		return nil, err
	}
	return h.answer()
}

var errStatus = errors.New("status is not 200")

func (h *httpConn) answer() ([]byte, error) {
	size, status := -1, ""
	for {
		line, err := h.r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		switch {
		case status == "":
			status = string(line)
			if !bytes.Contains(line, []byte(" 200 ")) {
				return nil, fmt.Errorf("%w: %s", errStatus, status)
			}
		case len(line) > 15 && strings.EqualFold(string(line[:15]), "content-length:"):
			if size, err = strconv.Atoi(strings.TrimSpace(string(line[15:]))); err != nil {
				return nil, err
			}
		case len(line) == 2:
			if size < 0 {
				return nil, errors.New("no Content-Length")
			}
			body, err := h.r.Peek(size)
			if err != nil {
				return nil, err
			}
			_, err = h.r.Discard(size) // leaves the bytes where they are
			return body, err
		}
	}
}

const pollPath = "/socket.io/?EIO=4&transport=polling"

// dialPoller opens a session and joins the main namespace.
func dialPoller(addr string) (p *poller, err error) {
	p = new(poller)
	if p.polls, err = dialHTTP(addr); err != nil {
		return nil, err
	}
	if p.post, err = dialHTTP(addr); err != nil {
		return nil, errors.Join(err, p.polls.conn.Close())
	}
	if err := p.open(); err != nil {
		p.hangUp()
		return nil, err
	}
	return p, nil
}

func (p *poller) open() error {
	body, err := p.polls.do(request("GET", pollPath, ""))
	if err != nil {
		return err
	}
	var open struct{ SID string }
	if err := json.Unmarshal(bytes.TrimPrefix(body, []byte("0")), &open); err != nil {
		return fmt.Errorf("%q came: %w", body, err)
	}
	p.path = pollPath + "&sid=" + open.SID
	if body, err = p.post.do(request("POST", p.path, "40")); err != nil || string(body) != "ok" {
		return fmt.Errorf("%q came: %w", body, err)
	}
	if body, err = p.polls.do(request("GET", p.path, "")); err != nil || !bytes.HasPrefix(body, []byte("40{")) {
		return fmt.Errorf("%q came: %w", body, err)
	}
	return nil
}

func (p *poller) hangUp() {
	_ = p.polls.conn.Close()
	_ = p.post.conn.Close()
}

// poll is a round trip by polling: an event in a POST, the same one in the
// answer to a parked GET.
func poll(clients int) func(plan, *child) (sample, error) {
	return func(pl plan, server *child) (s sample, err error) {
		pollers, err := dialPollers(server, clients)
		if err != nil {
			return s, err
		}
		defer hangUpAll(pollers)
		echo := socketIO.echo(payload(64))
		return pl.during(server, func(until time.Time) (int64, error) {
			counts := make([]int64, clients)
			err := inParallel(clients, clients, func(i int) error { return pollers[i].run(echo, until, &counts[i]) })
			var n int64
			for _, count := range counts {
				n += count
			}
			return n, err
		})
	}
}

func dialPollers(server *child, n int) ([]*poller, error) {
	pollers := make([]*poller, n)
	err := inParallel(8, n, func(i int) (err error) {
		pollers[i], err = dialPoller(server.addr)
		return err
	})
	if err != nil {
		hangUpAll(pollers)
	}
	return pollers, err
}

func hangUpAll(pollers []*poller) {
	for _, p := range pollers {
		if p != nil {
			p.hangUp()
		}
	}
}

func (p *poller) run(echo string, until time.Time, n *int64) error {
	for _, h := range []*httpConn{&p.polls, &p.post} {
		if err := h.conn.SetDeadline(until.Add(patience)); err != nil {
			return err
		}
	}
	get, post := request("GET", p.path, ""), request("POST", p.path, echo)
	for {
		if _, err := p.polls.conn.Write(get); err != nil {
			return err
		}
		if body, err := p.post.do(post); err != nil || string(body) != "ok" {
			return fmt.Errorf("POST: %q, %w", body, err)
		}
		body, err := p.polls.answer()
		if err != nil || string(body) != echo {
			return fmt.Errorf("GET: %q, %w", body, err)
		}
		*n++
		if !time.Now().Before(until) {
			return nil
		}
	}
}

// upgrade opens sessions by polling, moves them to WebSocket as the official
// client does, has one event echoed, and hangs up.
func upgrade(workers int) func(plan, *child) (sample, error) {
	return func(pl plan, server *child) (s sample, err error) {
		return pl.during(server, func(until time.Time) (int64, error) {
			return openSessions(workers, until, func() error { return upgradeOnce(server) })
		})
	}
}

// openOnWebSocket opens sessions on WebSocket and hangs up.
func openOnWebSocket(workers int) func(plan, *child) (sample, error) {
	return func(pl plan, server *child) (s sample, err error) {
		return pl.during(server, func(until time.Time) (int64, error) {
			return openSessions(workers, until, func() error {
				c, err := dial(server.addr, dialectOf(server.name), 4096)
				if err != nil {
					return err
				}
				return c.conn.Close()
			})
		})
	}
}

func openSessions(workers int, until time.Time, open func() error) (total int64, err error) {
	counts := make([]int64, workers)
	err = inParallel(workers, workers, func(i int) error {
		for {
			if err := open(); err != nil {
				return err
			}
			counts[i]++
			if !time.Now().Before(until) {
				return nil
			}
		}
	})
	for _, n := range counts {
		total += n
	}
	return total, err
}

func upgradeOnce(server *child) error {
	p, err := dialPoller(server.addr)
	if err != nil {
		return err
	}
	defer p.hangUp()
	// The official client leaves its poll parked meanwhile.
	if _, err := p.polls.conn.Write(request("GET", p.path, "")); err != nil {
		return err
	}
	h, err := dialHTTP(server.addr)
	if err != nil {
		return err
	}
	defer func() { _ = h.conn.Close() }()
	c := &client{conn: h.conn, r: h.r}
	if err := c.upgrade(strings.Replace(p.path, "polling", "websocket", 1)); err != nil {
		return err
	}
	if err := errors.Join(c.send("2probe"), c.expect("3probe")); err != nil {
		return err
	}
	if body, err := p.polls.answer(); err != nil || string(body) != "6" {
		return fmt.Errorf("poll: %q, %w", body, err)
	}
	echo := socketIO.echo(`{"text":"upgraded"}`)
	return errors.Join(c.send("5"), c.send(echo), c.expect(echo))
}
