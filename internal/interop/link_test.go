package interop

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// A link is a TCP relay whose wire can be cut or go dead.
type link struct {
	url    string
	target string

	// polls has the connections on which a GET has gone to the server and
	// nothing has come back yet.
	polls    *journal[net.Conn]
	accepted atomic.Int64
	dead     atomic.Bool
	conns    connSet
	relays   sync.WaitGroup
}

// startLink starts a link to target, a host:port.
func startLink(t *testing.T, target string) *link {
	t.Helper()
	l := &link{target: target, polls: newJournal[net.Conn]()}
	listener := listen(t)
	l.url = "http://" + listener.Addr().String()
	l.relays.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			l.accepted.Add(1)
			l.relays.Go(func() { l.relay(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		l.conns.end(sever)
		l.relays.Wait()
	})
	return l
}

// cut ends every connection, and those to come.
func (l *link) cut() { l.conns.end(func(conn net.Conn) { _ = conn.Close() }) }

// reset is cut with an RST, which also takes back what was not read yet.
func (l *link) reset() { l.conns.end(sever) }

// die leaves connections open but swallows what is sent over them, also the
// end of the other side.
func (l *link) die() { l.dead.Store(true) }

func (l *link) relay(client net.Conn) {
	defer client.Close()
	defer l.conns.add(client)()
	server, err := net.Dial("tcp", l.target)
	if err != nil {
		return
	}
	defer server.Close()
	defer l.conns.add(server)()
	isThis := func(conn net.Conn) bool { return conn == client }
	defer l.polls.take(isThis)
	// An answer is not noted before its request.
	var order sync.Mutex
	var both sync.WaitGroup
	both.Go(func() {
		l.carry(server, client, func(request []byte) {
			order.Lock()
			defer order.Unlock()
			_, _ = server.Write(request) // an end shows in the other direction
			if bytes.HasPrefix(request, []byte("GET ")) {
				l.polls.add(client)
			}
		})
	})
	both.Go(func() {
		l.carry(client, server, func(answer []byte) {
			order.Lock()
			l.polls.take(isThis)
			order.Unlock()
			_, _ = client.Write(answer)
		})
	})
	both.Wait()
}

// carry passes on what comes from src until it ends, and then ends dst.
func (l *link) carry(dst, src net.Conn, pass func([]byte)) {
	buf := make([]byte, 16<<10)
	for {
		n, err := src.Read(buf)
		dead := l.dead.Load()
		if n > 0 && !dead {
			pass(buf[:n])
		}
		if err != nil {
			if !dead {
				_ = dst.Close()
			}
			return
		}
	}
}

// A connSet holds open connections so that they can be ended together.
type connSet struct {
	mu    sync.Mutex // guards what follows
	conns map[net.Conn]struct{}
	over  func(net.Conn) // ends a connection, once all are to end
}

// add takes a connection in and returns a function that lets go of it.
func (s *connSet) add(conn net.Conn) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		s.conns = make(map[net.Conn]struct{})
	}
	if s.over != nil {
		s.over(conn)
	}
	s.conns[conn] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, conn)
	}
}

// end calls over for all connections, those to come included.
func (s *connSet) end(over func(net.Conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = over
	for conn := range s.conns {
		over(conn)
	}
}

// sever ends a connection with an RST.
func sever(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}
