package interop

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// A link is a TCP relay whose wire can be cut, go dead, be stalled and be
// mended.
type link struct {
	url  string
	stop func() // ends the link and all connections

	// polls has the connections on which a GET has gone to the server and
	// nothing has come back yet.
	polls    *journal[net.Conn]
	accepted atomic.Int64
	refused  *journal[struct{}] // connections that were made while the wire was cut
	down     atomic.Int64       // bytes that came from the server
	fuse     atomic.Int64       // bytes to the server until it snaps; 0 is never
	dead     atomic.Bool
	conns    connSet
	relays   sync.WaitGroup

	mu     sync.Mutex // guards what follows
	target string
	lanes  map[*lane]struct{}
	flow   chan struct{} // closed unless the link is stalled
}

// A lane is one connection through a link.
type lane struct {
	client, server net.Conn
	lost           atomic.Bool // something was swallowed, nothing may follow
}

// nowhere is a host:port on which nothing listens.
const nowhere = "127.0.0.1:1"

// startLink starts a link to target, a host:port.
func startLink(t *testing.T, target string) *link {
	t.Helper()
	l := &link{
		target: target, polls: newJournal[net.Conn](), refused: newJournal[struct{}](),
		lanes: make(map[*lane]struct{}), flow: make(chan struct{}),
	}
	close(l.flow)
	listener := listen(t)
	l.url = "http://" + listener.Addr().String()
	l.relays.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			l.accepted.Add(1)
			if l.conns.ended() {
				l.refused.add(struct{}{})
			}
			l.relays.Go(func() { l.relay(conn) })
		}
	})
	l.stop = sync.OnceFunc(func() {
		_ = listener.Close()
		l.conns.end(sever)
		l.resume()
		l.relays.Wait()
	})
	t.Cleanup(l.stop)
	return l
}

// cut ends every connection, and those to come.
func (l *link) cut() { l.conns.end(func(conn net.Conn) { _ = conn.Close() }) }

// reset is cut with an RST, which also takes back what was not read yet.
func (l *link) reset() { l.conns.end(sever) }

// die leaves connections open but swallows what is sent over them, also the
// end of the other side.
func (l *link) die() { l.dead.Store(true) }

// vanish ends the clients' sides of all connections, those to come excepted,
// and leaves the server's sides open: it is not told that the clients have gone.
func (l *link) vanish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.lanes {
		w.lost.Store(true)
		_ = w.client.Close()
	}
}

// snap is cut, or reset if hard is set, of the connections that there are.
func (l *link) snap(hard bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.lanes {
		for _, conn := range []net.Conn{w.client, w.server} {
			if hard {
				sever(conn)
			} else {
				_ = conn.Close()
			}
		}
	}
}

// mend lets new connections through again. Those of a dead wire stay dead if
// they have lost something.
func (l *link) mend() {
	l.conns.mend()
	l.dead.Store(false)
}

// aim makes new connections go to target, a host:port.
func (l *link) aim(target string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.target = target
}

// stall holds everything back in both directions, without reading on, until
// resume.
func (l *link) stall() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flow = make(chan struct{})
}

func (l *link) resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.flow:
	default:
		close(l.flow)
	}
}

func (l *link) flowing() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flow
}

func (l *link) relay(client net.Conn) {
	defer client.Close()
	defer l.conns.add(client)()
	l.mu.Lock()
	target := l.target
	l.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	defer l.conns.add(server)()
	w := &lane{client: client, server: server}
	l.mu.Lock()
	l.lanes[w] = struct{}{}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.lanes, w)
	}()
	isThis := func(conn net.Conn) bool { return conn == client }
	defer l.polls.take(isThis)
	// An answer is not noted before its request.
	var order sync.Mutex
	var both sync.WaitGroup
	both.Go(func() {
		l.carry(w, server, client, func(request []byte) {
			order.Lock()
			defer order.Unlock()
			_, _ = server.Write(request) // an end shows in the other direction
			if bytes.HasPrefix(request, []byte("GET ")) {
				l.polls.add(client)
			}
			if n := int64(len(request)); l.fuse.Load() > 0 && l.fuse.Add(-n) <= 0 {
				l.fuse.Store(0)
				l.snap(true)
			}
		})
	})
	both.Go(func() {
		l.carry(w, client, server, func(answer []byte) {
			order.Lock()
			l.polls.take(isThis)
			order.Unlock()
			l.down.Add(int64(len(answer)))
			_, _ = client.Write(answer)
		})
	})
	both.Wait()
}

// carry passes on what comes from src until it ends, and then ends dst.
func (l *link) carry(w *lane, dst, src net.Conn, pass func([]byte)) {
	buf := make([]byte, 16<<10)
	for {
		n, err := src.Read(buf)
		<-l.flowing()
		dead := l.dead.Load() || w.lost.Load()
		if dead {
			w.lost.Store(true)
		} else if n > 0 {
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

// snap ends the connections that there are, and not those to come.
func (s *connSet) snap() {
	s.end(func(conn net.Conn) { _ = conn.Close() })
	s.mend()
}

// ended reports whether connections are ended as soon as they are there.
func (s *connSet) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over != nil
}

// mend lets connections live from now on.
func (s *connSet) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = nil
}

// sever ends a connection with an RST.
func sever(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}
