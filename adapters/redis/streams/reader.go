package streams

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/adapters/redis/internal/pubsub"
	"github.com/upshift-go/upshift/core"
)

// broadcastType is cluster.Broadcast as it stands in an entry.
const broadcastType = "3"

// beginning is before every entry, and yet a place.
var beginning = core.Offset{Minor: 1}

var (
	errTrimmed = errors.New("streams: the stream was trimmed beyond what has been read, or emptied")
	errReset   = errors.New("streams: the stream is not the one that was read before: Redis was emptied or has failed over")
)

// answerTime is how long Redis may take for what it can answer at once.
const answerTime = 10 * time.Second

// A reader hands on the entries of the stream, in their order, on a goroutine of its
// own.
type reader struct {
	*engine
	ctx    context.Context //nolint:containedctx // of everything until close
	cancel context.CancelFunc
	done   chan struct{}
	begun  chan struct{} // closed when position is set
	older  bool          // servers of a version that cannot work with others have been seen

	mu       sync.Mutex // guards position
	position core.Offset
}

func newReader(e *engine) *reader {
	r := &reader{engine: e, done: make(chan struct{}), begun: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// ready waits until it is known from where on is read: what is added before that would
// not come back.
func (r *reader) ready(ctx context.Context) error {
	select {
	case <-r.begun:
	case <-r.done: // nothing is read
	case <-ctx.Done():
		return fmt.Errorf("redis: the stream is not read yet: %w", context.Cause(ctx))
	}
	return nil
}

// close ends reading, and returns when nothing is handed on any more.
func (r *reader) close() {
	r.cancel()
	<-r.done
}

// Position implements cluster.Log.
func (e *engine) Position() core.Offset {
	e.reader.mu.Lock()
	defer e.reader.mu.Unlock()
	return e.reader.position
}

func (r *reader) move(to core.Offset) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.position = to
}

// run reads until close, through failures.
func (r *reader) run() {
	defer close(r.done)
	var pause pubsub.Pause
	failing := false
	for r.ctx.Err() == nil {
		err := r.follow(func() {
			if failing {
				r.in.Logger().InfoContext(r.ctx, "the stream is read again")
			}
			failing = false
			pause.Reset()
		})
		if r.ctx.Err() != nil {
			return
		}
		if !failing {
			r.in.Logger().WarnContext(r.ctx, "the stream of other servers cannot be read", slog.Any("error", err))
		}
		failing = true
		if !pause.Wait(r.ctx) {
			return
		}
	}
}

// follow reads until something fails. It calls up when all is well.
func (r *reader) follow(up func()) error {
	client, err := r.link.Client(r.ctx)
	if err != nil {
		return err
	}
	if err := r.begin(client); err != nil {
		return err
	}
	// A command that waits for entries ends only with its connection.
	conn, release := client.Dedicate()
	defer release()
	up()
	for {
		if err := r.read(conn); err != nil {
			return err
		}
	}
}

// begin finds out from where to read: from where reading has ended, unless the stream
// ends before that, or else from the end.
func (r *reader) begin(client rueidis.Client) error {
	ctx, cancel := context.WithTimeout(r.ctx, answerTime)
	defer cancel()
	now, err := r.look(ctx, client)
	if err != nil {
		return err
	}
	position := r.Position()
	switch {
	case position.IsZero():
		r.move(now.last)
		close(r.begun)
		return nil
	case now.last.Compare(position) < 0:
		r.move(now.last)
		r.in.Gap(errReset)
	case position == beginning && !now.whole:
		r.in.Gap(errTrimmed)
	}
	return nil
}

// read reads some entries and hands them on. If the one that was read last is not there
// any more, the stream is trimmed faster than it is read, or was emptied, and some may
// have been between.
func (r *reader) read(conn rueidis.DedicatedClient) error {
	ctx, cancel := context.WithTimeout(r.ctx, r.options.BlockTime+answerTime)
	defer cancel()
	defer context.AfterFunc(ctx, conn.Close)()
	position := r.Position()
	id := position.String()
	results := conn.DoMulti(ctx,
		conn.B().Xread().Count(r.options.ReadCount).Block(r.options.BlockTime.Milliseconds()).Streams().Key(r.options.Stream).Id(id).Build(),
		conn.B().Xrange().Key(r.options.Stream).Start(id).End(id).Build())
	result, err := results[0].AsXRead()
	if rueidis.IsRedisNil(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	last, err := results[1].AsXRange()
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	if len(last) == 0 && position != beginning {
		r.in.Gap(errTrimmed)
	}
	entries := result[r.options.Stream]
	for i := range entries {
		e, err := entryOf(&entries[i])
		if err != nil {
			return err
		}
		r.handOn(&e)
		r.move(e.offset)
	}
	return nil
}

// handOn passes an entry to the cluster. Those of namespaces that are not there matter
// only if clients can come back to them.
func (r *reader) handOn(e *entry) {
	own := e.fields["uid"] == r.in.ID()
	if own && e.fields[nonceField] == "" || !own && e.fields["type"] != broadcastType && !r.in.Has(e.fields["nsp"], "") {
		return
	}
	m, err := e.message()
	if err != nil {
		r.in.Malformed(r.options.Stream, err)
		return
	}
	switch m.Type {
	case cluster.InitialHeartbeat, cluster.Heartbeat, cluster.Close:
		if !r.older {
			r.older = true
			r.in.Logger().ErrorContext(r.ctx, "a server of the cluster has @socket.io/redis-streams-adapter before 0.3, whose questions and answers are others",
				slog.String("server", m.Sender))
		}
	case cluster.Broadcast, cluster.SocketsJoin, cluster.SocketsLeave, cluster.DisconnectSockets, cluster.ServerSideEmit:
		r.in.Receive(m)
	default:
	}
}

// A state is how far a stream goes.
type state struct {
	last core.Offset
	// whole: nothing has ever been taken out of it.
	whole bool
}

// look returns the state of the stream. One that is not there has had no entry yet.
func (e *engine) look(ctx context.Context, client rueidis.Client) (state, error) {
	info, err := client.Do(ctx, client.B().XinfoStream().Key(e.options.Stream).Build()).AsMap()
	if redisErr, is := rueidis.IsRedisErr(err); is && strings.Contains(redisErr.Error(), "no such key") {
		return state{beginning, true}, nil
	}
	if err != nil {
		return state{}, fmt.Errorf("redis: %w", err)
	}
	id := info["last-generated-id"]
	text, err := id.ToString()
	last, ok := core.ParseOffset(text)
	if err != nil || !ok {
		return state{}, fmt.Errorf("%w: last id %q", cluster.ErrMalformed, text)
	}
	if last.IsZero() {
		last = beginning
	}
	length, added := info["length"], info["entries-added"]
	n, err1 := length.AsInt64()
	all, err2 := added.AsInt64() // not before Redis 7
	return state{last, err1 == nil && err2 == nil && n == all}, nil
}

// intact reports whether all entries after from are still there: whether from is.
func (e *engine) intact(ctx context.Context, client rueidis.Client, from core.Offset) (bool, error) {
	if from == beginning {
		now, err := e.look(ctx, client)
		return now.whole, err
	}
	id := from.String()
	entries, err := client.Do(ctx, client.B().Xrange().Key(e.options.Stream).Start(id).End(id).Build()).AsXRange()
	if err != nil {
		return false, fmt.Errorf("redis: %w", err)
	}
	return len(entries) > 0, nil
}
