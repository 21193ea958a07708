package interop

import (
	"slices"
	"testing"
	"time"
)

// Two clients chat through proxies that do not want WebSocket. What a client
// posts is handled once and in order, and reaches the other one once and in
// order, for as long as a session lives. What can be promised when one ends is
// spelled out at checkPosts.
func TestStory(t *testing.T) {
	const (
		probe   = 12 // bytes of the client's "2probe" frame
		answer  = 8  // bytes of the server's "3probe" frame
		upgrade = 7  // bytes of the client's "5" frame
	)
	for _, story := range []struct {
		name  string
		fault fault
		// live: every attempt meets the fault, and the session stays on polling.
		// Otherwise it is the first attempt of each client, and ends its session.
		live bool
		// silent: one side is not told of the end, and the heartbeat has to find out.
		silent bool
	}{
		{name: "refused with 400", fault: fault{status: 400}, live: true},
		{name: "refused with 502", fault: fault{status: 502}, live: true},
		{name: "header fields stripped", fault: fault{strip: true}, live: true},
		{name: "all frames swallowed", fault: fault{up: 0, down: 0}, live: true},
		{name: "answers swallowed", fault: fault{up: unlimited, down: 0}, live: true},
		{name: "half of the probe swallowed", fault: fault{up: probe / 2, down: unlimited}, live: true},
		{name: "half of the answer swallowed", fault: fault{up: unlimited, down: answer / 2}, live: true},
		{name: "cut at once", fault: fault{up: 0, down: unlimited, cut: true}, live: true},
		{name: "cut within the probe", fault: fault{up: probe / 2, down: unlimited, cut: true}, live: true},
		{name: "cut before the answer", fault: fault{up: probe, down: 0, cut: true, reset: true}, live: true},
		{name: "cut within the answer", fault: fault{up: unlimited, down: answer / 2, cut: true, reset: true}, live: true},

		{name: "commit swallowed", fault: fault{up: probe, down: unlimited}, silent: true},
		{name: "half of the commit swallowed", fault: fault{up: probe + upgrade/2, down: unlimited}, silent: true},
		{name: "all after the commit swallowed", fault: fault{up: probe + upgrade, down: answer}, silent: true},
		{name: "swallowed in the middle", fault: fault{up: probe + upgrade + 500, down: unlimited}, silent: true},
		{name: "cut within the commit", fault: fault{up: probe + upgrade/2, down: unlimited, cut: true}, silent: true},
		{name: "cut after the commit", fault: fault{up: probe + upgrade, down: unlimited, cut: true}},
		{name: "cut in the middle, up", fault: fault{up: probe + upgrade + 333, down: unlimited, cut: true}},
		{name: "cut in the middle, down", fault: fault{up: unlimited, down: answer + 444, cut: true}},
		{name: "reset in the middle, up", fault: fault{up: probe + upgrade + 555, down: unlimited, cut: true, reset: true}},
		{name: "reset in the middle, down", fault: fault{up: unlimited, down: answer + 1111, cut: true, reset: true}},
	} {
		for _, door := range doors {
			t.Run(story.name+"/"+door, func(t *testing.T) {
				t.Parallel()
				var set settings
				if story.live {
					set.upgradeTimeout = time.Second // so that giving up on the attempt is part of it
				}
				if story.silent {
					set.pingInterval, set.pingTimeout = time.Second, 5*time.Second
				}
				a := startApp(t, door, set)
				// The first attempts come when the chat is going on.
				p := startProxy(t, a.addr, 2, func(n int) fault {
					if n < 2 || story.live {
						return story.fault
					}
					return healthy
				})
				sessions, transport := 1, "polling"
				if !story.live {
					sessions, transport = 2, "websocket"
				}
				chat(t, a, p.url, sessions, transport, func() {
					p.open()
					p.broken.seen(t, 2, "a fault for each client", func(fault) bool { return true })
				})
			})
		}
	}
}

// A chatter is a client of the story and what it has been through.
type chatter struct {
	name      string
	transport string // in the end
	sessions  []chatSession
	acked     []int
}

// A chatSession is the life of one socket, as its client saw it.
type chatSession struct {
	id       string
	sent     []int // posted in it, those kept while there was no session included
	received []int // from the other
	ended    bool
}

// chat lets two clients post to each other and checks what arrived. When the
// chat is going on it calls disturb, and when that has returned it goes on for
// a while. Each client must see the given number of sessions and end on the
// given transport.
func chat(t *testing.T, a *app, url string, sessions int, transport string, disturb func()) {
	t.Helper()
	n := startNode(t)
	names := []string{"ann", "ben"}
	clients := make([]*client, 0, len(names))
	for _, name := range names {
		clients = append(clients, n.open(t, name, url, map[string]any{
			"auth": map[string]any{"name": name}, "reconnectionDelay": 20, "reconnectionDelayMax": 100,
		}, nil))
	}
	isConnect := func(r report) bool { return r.Event == "connect" }
	isPosted := isMessage("posted")
	for _, c := range clients {
		c.seen(t, 1, "connect of "+c.name, isConnect)
	}
	posting := make([]<-chan any, 0, len(clients))
	for _, c := range clients {
		posting = append(posting, c.start(t, "post", map[string]any{"gap": 4}))
	}
	for _, c := range clients {
		c.seen(t, 10, "posts of the other at "+c.name, isPosted)
	}
	disturb()
	for _, c := range clients {
		c.seen(t, sessions, "connect of "+c.name, isConnect)
	}
	for _, c := range clients {
		before, _ := c.count(isPosted)
		c.seen(t, before+100, "posts of the other at "+c.name, isPosted)
	}
	for i, c := range clients {
		c.do(t, "stop", nil)
		n.wait(t, posting[i])
	}
	// Whoever gets an answer now has no older post under way, and after the
	// second round no post of the other either.
	for range 2 {
		for _, c := range clients {
			c.do(t, "barrier", nil)
		}
	}
	ann, ben := newChatter(t, clients[0]), newChatter(t, clients[1])
	for _, c := range []*chatter{ann, ben} {
		if len(c.sessions) != sessions {
			t.Errorf("%s had %d sessions, want %d", c.name, len(c.sessions), sessions)
		}
		if c.transport != transport {
			t.Errorf("%s is on %s in the end, want %s", c.name, c.transport, transport)
		}
	}
	for _, c := range []*chatter{ann, ben} {
		for _, session := range c.sessions[:len(c.sessions)-1] {
			a.seen(t, 1, "end of the session at the server", func(s served) bool {
				return s.Kind == "disconnect" && s.ID == session.id
			})
		}
	}
	handled := a.all()
	checkPosts(t, ann, ben, handled)
	checkPosts(t, ben, ann, handled)
}

// newChatter reads a client's journal.
func newChatter(t *testing.T, c *client) *chatter {
	t.Helper()
	chatter := &chatter{name: c.name, transport: c.transport(t)}
	var session *chatSession
	var kept []int // sent without a session
	for _, r := range c.all() {
		switch r.Event {
		case "connect":
			chatter.sessions = append(chatter.sessions, chatSession{id: r.SID, sent: kept})
			session, kept = &chatter.sessions[len(chatter.sessions)-1], nil
		case "disconnect":
			t.Logf("%s: %s (%s)", c.name, r.Reason, r.Message)
			session.ended = true
		case "sent":
			if r.SID == "" {
				kept = append(kept, r.N)
			} else {
				session.sent = append(session.sent, r.N)
			}
		case "acked":
			chatter.acked = append(chatter.acked, r.N)
		case "message":
			session.received = append(session.received, int(r.Args[1].(float64)))
		}
	}
	return chatter
}

// checkPosts checks what became of the posts of one client at the server and
// at the other client:
//
//   - Of what a client sends in a session the server handles a first part, in
//     order, each post once; if the session has not ended, all of it.
//   - What the client was told is handled, is; if the session has not ended,
//     it was told of all.
//   - The other client receives in a session a run of what the server handled,
//     from its connect on, in order, each post once and without a gap; if the
//     session has not ended, to the end.
func checkPosts(t *testing.T, by, other *chatter, log []served) {
	t.Helper()
	handled := make([]int, 0, len(log))
	for i, s := range by.sessions {
		var got []int
		for _, entry := range log {
			if entry.Kind == "post" && entry.ID == s.id {
				got = append(got, entry.N)
			}
		}
		handled = append(handled, got...)
		want := s.sent
		if s.ended {
			want = want[:min(len(got), len(want))]
		}
		if !slices.Equal(want, got) {
			t.Errorf("of what %s sent in session %d the server handled %v, want %v", by.name, i, got, want)
		}
		told := slices.DeleteFunc(slices.Clone(by.acked), func(n int) bool { return !slices.Contains(s.sent, n) })
		if s.ended {
			want = want[:min(len(told), len(want))]
		}
		if !slices.Equal(want, told) || len(told) > len(got) {
			t.Errorf("of what %s sent in session %d it was told %v, want %v", by.name, i, told, want)
		}
		t.Logf("%s, session %d: sent %d, handled %d, acknowledged %d; received %d",
			by.name, i, len(s.sent), len(got), len(told), len(s.received))
	}

	rest := handled // what may come yet
	for i, s := range other.sessions {
		if len(s.received) == 0 {
			t.Errorf("%s received nothing in session %d", other.name, i)
			continue
		}
		at := slices.Index(rest, s.received[0])
		if at < 0 || i == 0 && at != 0 {
			t.Errorf("%s received %d first in session %d, with %v to come", other.name, s.received[0], i, rest)
			return
		}
		rest = rest[at:]
		want := rest
		if s.ended {
			want = rest[:min(len(s.received), len(rest))]
		}
		if !slices.Equal(want, s.received) {
			t.Errorf("posts of %s at %s in session %d are %v, want %v", by.name, other.name, i, s.received, want)
		}
		rest = rest[len(want):]
	}
}
