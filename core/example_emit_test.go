package core_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/upshift-go/upshift/core"
)

// welcome makes every client a member of the room it names in its auth
// payload, and says so to it.
func welcome(ctx context.Context, s *core.Socket) error {
	var auth struct{ Room string }
	if err := s.Auth(&auth); err != nil {
		return err
	}
	if err := s.Join(ctx, auth.Room); err != nil {
		return err
	}
	return s.Emit(ctx, "welcome", auth.Room)
}

// member connects a client that is in a room.
func (d *demo) member(room string) *visitor {
	v := d.join("/", map[string]string{"room": room})
	v.next() // welcome
	return v
}

// A room is a name. It is there as long as somebody is in it, and every socket
// is in one that is named after its id.
func ExampleSocket_Join() {
	srv := newDemo(core.Options{})
	defer srv.close()
	ns := srv.Of("/")
	ns.OnConnect(func(ctx context.Context, s *core.Socket) error {
		if err := s.Join(ctx, "news", "sport"); err != nil {
			return err
		}
		return s.Emit(ctx, "rooms", len(s.Rooms()))
	})

	client := srv.join("/", nil)
	fmt.Println(client.next())
	_ = ns.To("sport").Emit(context.Background(), "goal", "1:0")
	fmt.Println(client.next())
	_ = ns.To(client.sid).Emit(context.Background(), "note", "for you")
	fmt.Println(client.next())
	// Output:
	// rooms 3
	// goal "1:0"
	// note "for you"
}

// From a socket, everybody but itself.
func ExampleSocket_To() {
	srv := newDemo(core.Options{})
	defer srv.close()
	ns := srv.Of("/")
	ns.OnConnect(welcome)
	core.On(ns, "say", func(ctx context.Context, s *core.Socket, text string) (core.None, error) {
		if err := s.To("tea").Emit(ctx, "said", text); err != nil { // the others in the room
			return core.None{}, err
		}
		return core.None{}, s.Broadcast().Emit(ctx, "noise") // the others anywhere
	})

	ann, bob, cal := srv.member("tea"), srv.member("tea"), srv.member("coffee")
	ann.emit("say", "more milk?")
	fmt.Println("Bob:", bob.next())
	fmt.Println("Bob:", bob.next())
	fmt.Println("Cal:", cal.next())
	// Output:
	// Bob: said "more milk?"
	// Bob: noise
	// Cal: noise
}

// Except leaves rooms out, whoever is in them.
func ExampleSocket_Except() {
	srv := newDemo(core.Options{})
	defer srv.close()
	ns := srv.Of("/")
	ns.OnConnect(welcome)
	core.On(ns, "say", func(ctx context.Context, s *core.Socket, text string) (core.None, error) {
		return core.None{}, s.Except("muted").Emit(ctx, "said", text)
	})

	ann, bob, cal := srv.member("open"), srv.member("muted"), srv.member("open")
	ann.emit("say", "hello")
	fmt.Println("Cal:", cal.next())
	_ = ns.Emit(context.Background(), "end")
	fmt.Println("Bob:", bob.next())
	// Output:
	// Cal: said "hello"
	// Bob: end
}

// A Target is a value: it can be kept, shared, and built upon without being
// changed. Who is in it is looked up when something is sent.
func ExampleTarget() {
	srv := newDemo(core.Options{})
	defer srv.close()
	ns := srv.Of("/")
	ns.OnConnect(welcome)
	ctx := context.Background()

	players := ns.To("red", "blue")     // in either room, each once
	others := players.Except("blue")    // players is what it was
	fmt.Println(len(players.Sockets())) // nobody has come yet
	red, blue := srv.member("red"), srv.member("blue")
	fmt.Println(len(players.Sockets()), len(others.Sockets()))

	_ = others.Join(ctx, "winners") // makes them join a room
	_ = ns.To("winners").Emit(ctx, "cup")
	_ = players.Emit(ctx, "end")
	fmt.Println("red:", red.next(), red.next())
	fmt.Println("blue:", blue.next())
	players.Disconnect()
	fmt.Println(ns.Len())
	// Output:
	// 0
	// 2 1
	// red: cup end
	// blue: end
	// 0
}

// A volatile event is for those who can take it at once. Who is busy misses it.
func ExampleTarget_Volatile() {
	srv := newDemo(core.Options{})
	defer srv.close()
	ctx := context.Background()
	client := srv.join("/", nil)
	position := srv.Of("/").Socket(client.sid).Self().Volatile()

	_ = position.Emit(ctx, "position", 1)
	fmt.Println(client.next())
	client.pipe.Stall(true)               // the client reads nothing any more
	_ = position.Emit(ctx, "position", 2) // fills its connection
	_ = position.Emit(ctx, "position", 3) // finds it full
	client.pipe.Stall(false)
	fmt.Println(client.next())
	_ = position.Emit(ctx, "position", 4)
	fmt.Println(client.next())
	fmt.Println(srv.Stats().VolatileDropped)
	// Output:
	// position 1
	// position 2
	// position 4
	// 1
}

// A client that reads slowly gets the newest of each key, and not the backlog.
func ExampleTarget_Latest() {
	srv := newDemo(core.Options{})
	defer srv.close()
	ctx := context.Background()
	client := srv.join("/", nil)
	feed := srv.Of("/").Socket(client.sid).Self()

	client.pipe.Stall(true)     // the client reads nothing for a while
	_ = feed.Emit(ctx, "hello") // fills its connection; the rest waits
	_ = feed.Latest("EURUSD").Emit(ctx, "price", "EURUSD", 1.0801)
	_ = feed.Latest("GBPUSD").Emit(ctx, "price", "GBPUSD", 1.2702)
	_ = feed.Latest("EURUSD").Emit(ctx, "price", "EURUSD", 1.0803)
	client.pipe.Stall(false)
	for range 3 {
		fmt.Println(client.next())
	}
	// Output:
	// hello
	// price "GBPUSD" 1.2702
	// price "EURUSD" 1.0803
}

// What happens when a client reads so slowly that its outbox is full is decided
// for each event. Unless something else is said, the client is disconnected.
func ExampleTarget_Overflow() {
	srv := newDemo(core.Options{MaxOutboxPackets: 2})
	defer srv.close()
	ctx := context.Background()
	client := srv.join("/", nil)
	feed := srv.Of("/").Socket(client.sid).Self()

	client.pipe.Stall(true)     // the client reads nothing any more
	_ = feed.Emit(ctx, "hello") // fills its connection
	_ = feed.Overflow(core.DropOldest).Emit(ctx, "log", "line 1")
	_ = feed.Overflow(core.DropOldest).Emit(ctx, "log", "line 2") // instead of line 1
	err := feed.Overflow(core.Refuse).Emit(ctx, "order")
	fmt.Println(errors.Is(err, core.ErrOutboxFull))
	client.pipe.Stall(false)
	fmt.Println(client.next())
	fmt.Println(client.next())
	// Output:
	// true
	// hello
	// log "line 2"
}

// Call waits for the client's answer. A handler may call its own client.
func ExampleSocket_Call() {
	srv := newDemo(core.Options{})
	defer srv.close()
	confirm := core.NewEvent[string, bool]("confirm")

	core.On(srv.Of("/"), "delete", func(ctx context.Context, s *core.Socket, name string) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		sure, err := confirm.Call(ctx, s, "really delete "+name+"?")
		switch {
		case err != nil: // it has left, or has not answered in time
			return "", err
		case !sure:
			return "kept", nil
		}
		return "deleted", nil
	})

	client := srv.join("/", nil)
	client.emit("delete", "notes.txt")
	fmt.Println(client.next())
	client.answer(false)

	// Without a descriptor it is the same with pointers.
	var name string
	done := make(chan error)
	go func() {
		s := srv.Of("/").Socket(client.sid)
		done <- s.Call(context.Background(), "name", nil, &name)
	}()
	fmt.Println(client.next())
	client.answer("Ann")
	fmt.Println(<-done, name)
	// Output:
	// confirm "really delete notes.txt?"
	// name
	// <nil> Ann
}

// The answers of many, as they come. Who has not answered in time is in the
// loop, too, with the reason.
func ExampleTarget_CallAll() {
	srv := newDemo(core.Options{})
	defer srv.close()
	ready := core.NewEvent[string, bool]("ready")
	ann, bob := srv.join("/", nil), srv.join("/", nil)

	done := make(chan struct{})
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		answers := map[string]string{}
		for r, err := range ready.CallAll(ctx, srv.Of("/").To(), "next round") {
			switch {
			case errors.Is(err, core.ErrDisconnected):
				answers[r.SocketID] = "has left"
			case errors.Is(err, context.DeadlineExceeded):
				answers[r.SocketID] = "did not answer"
			case err != nil:
				answers[r.SocketID] = err.Error()
			default:
				answers[r.SocketID] = strconv.FormatBool(r.Value)
			}
		}
		fmt.Println("Ann:", answers[ann.sid])
		fmt.Println("Bob:", answers[bob.sid])
	}()
	fmt.Println(ann.next())
	ann.answer(true)
	fmt.Println(bob.next())
	bob.leave()
	<-done
	// Output:
	// ready "next round"
	// ready "next round"
	// Ann: true
	// Bob: has left
}
