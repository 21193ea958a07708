package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/core"
)

// LogOptions are those of NewLog. Streams that are not there yet are made as they
// say; those that are there are left as they are.
type LogOptions struct {
	Options
	// Stream is the name of the stream of events; with "_states" it is that of what
	// clients come back to. Default: Prefix, with an underscore for what is no letter,
	// digit, hyphen or underscore.
	Stream string
	// MaxAge is for how long events, and what clients come back to, are kept. It must
	// be longer than core.Recovery.Window. Default 10 minutes.
	MaxAge time.Duration
	// MaxMessages is how many events are kept. Default 100,000.
	MaxMessages int64
	// MaxBytes is how much they may take. Default 1 GiB.
	MaxBytes int64
	// InMemory has the server keep them in memory instead of in files.
	InMemory bool
	// Replicas is how many servers of a cluster of NATS keep each of them. Default 1.
	Replicas int
}

func (o LogOptions) withDefaults() LogOptions {
	o.Options = o.Options.withDefaults()
	if o.Stream == "" {
		o.Stream = strings.ReplaceAll(token(o.Prefix), "=", "_")
	}
	if o.MaxAge == 0 {
		o.MaxAge = 10 * time.Minute
	}
	if o.MaxMessages == 0 {
		o.MaxMessages = 100_000
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 30
	}
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	return o
}

func (o *LogOptions) check() error {
	if o.MaxAge < time.Second || o.MaxMessages < 1 || o.MaxBytes < 1 || o.Replicas < 1 {
		return errors.New("nats: LogOptions has a limit that is too small")
	}
	return nil
}

// NewLog returns an adapter for one server, for core.Options.Adapter, whose events
// JetStream keeps.
func NewLog(o LogOptions) *cluster.Recovering {
	return cluster.NewRecovering(NewLogEngine(o), o.Cluster)
}

// NewLogEngine returns the engine of NewLog, for adapters/emitter.
func NewLogEngine(o LogOptions) cluster.Log {
	o = o.withDefaults()
	return &logEngine{engine: newEngine(o.Options), log: o, owned: make(map[string]ownership)}
}

// logEngine is the engine of NewLog. It has one more goroutine, that reads the stream.
type logEngine struct {
	*engine
	log LogOptions
	js  jetstream.JetStream

	reader reader
	leave  sync.Once  // closes reader.leaving
	ready  sync.Mutex // guards made, and is held while the streams are made
	made   bool

	mu     sync.Mutex           // guards what follows
	owned  map[string]ownership // what this server has saved, by private ids
	forget time.Time            // when to look next for what is of no use in owned
}

var _ cluster.Log = (*logEngine)(nil)

// The nonce is in a header, which counts for the size of a message.
const (
	nonceHeader = "Upshift-Nonce"
	nonceSize   = len("NATS/1.0\r\n"+nonceHeader+": \r\n\r\n") + len("18446744073709551615")
)

// Name implements cluster.Engine.
func (e *logEngine) Name() string { return "nats-log" }

// Start implements cluster.Engine.
func (e *logEngine) Start(in cluster.Inbox) error {
	if err := e.log.check(); err != nil {
		return err
	}
	e.reader.init(e)
	if err := e.engine.Start(in); err != nil {
		return err
	}
	var err error
	// What is never answered must not count as pending for ever.
	pending := []jetstream.JetStreamOpt{jetstream.WithPublishAsyncMaxPending(1 << 16), jetstream.WithPublishAsyncTimeout(time.Minute)}
	if e.js, err = jetstream.New(e.conn, pending...); err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	if in.ID() == cluster.EmitterID {
		close(e.reader.begun) // nothing is read
		return nil
	}
	e.running.Go(e.reader.run)
	return nil
}

// Close implements cluster.Engine.
func (e *logEngine) Close(ctx context.Context) error {
	e.reader.cancel()
	err := e.engine.Close(ctx)
	e.js.CleanupPublisher()
	return err
}

// isKept reports whether a message goes through the stream.
func isKept(m *cluster.Message) bool {
	switch m.Type {
	case cluster.Broadcast:
		return m.RequestID == ""
	case cluster.SocketsJoin, cluster.SocketsLeave, cluster.DisconnectSockets:
		return true
	default:
		return false
	}
}

// Changed implements cluster.Engine. Events of rooms come with the stream.
func (e *logEngine) Changed(namespace string, rooms ...string) {
	if len(rooms) == 0 {
		e.engine.Changed(namespace)
	}
}

// Encode implements cluster.Engine. It is told first that the server leaves.
func (e *logEngine) Encode(m *cluster.Message) (cluster.Publication, error) {
	if m.Type == cluster.Close {
		e.leave.Do(func() { close(e.reader.leaving) })
	}
	p, err := e.engine.Encode(m)
	if !isKept(m) {
		return p, err
	}
	p.Channel = e.logSubject(m.Namespace)
	if err == nil {
		err = e.checkSize(len(p.Data) + nonceSize)
	}
	return p, err
}

func (e *logEngine) logSubject(namespace string) string {
	return e.options.Prefix + ".log." + token(namespace)
}

// Decode implements cluster.Log.
func (e *logEngine) Decode(p cluster.Publication) (*cluster.Message, error) {
	return cluster.ReadMessage(p.Data)
}

// Publish implements cluster.Engine. What is for the stream is known by the type. Others
// that have heard of this server count on it to get what they send, so that nothing
// leaves before the stream is read.
func (e *logEngine) Publish(ctx context.Context, batch []cluster.Publication) error {
	var leaving <-chan struct{}
	if !slices.ContainsFunc(batch, isNews) {
		leaving = e.reader.leaving
	}
	switch err := e.reader.ready(ctx, leaving); {
	case errors.Is(err, errLeaving):
		return nil // nobody has heard of it
	case err != nil:
		return err
	}
	logPrefix := e.options.Prefix + ".log."
	var kept []jetstream.PubAckFuture
	var failed error
	rest := make([]cluster.Publication, 0, len(batch))
	for i := range batch {
		p := &batch[i]
		if !strings.HasPrefix(p.Channel, logPrefix) {
			rest = append(rest, *p)
			continue
		}
		if len(kept) == 0 {
			if err := e.makeStreams(ctx); err != nil {
				return err
			}
		}
		m := nats.NewMsg(p.Channel)
		m.Data = p.Data
		if p.Nonce != "" {
			m.Header.Set(nonceHeader, p.Nonce)
		}
		ack, err := e.js.PublishMsgAsync(m, jetstream.WithRetryAttempts(0))
		if err != nil {
			failed = fmt.Errorf("nats: %w", err)
			break
		}
		kept = append(kept, ack)
	}
	if len(rest) > 0 && failed == nil {
		failed = e.engine.Publish(ctx, rest)
	}
	return errors.Join(failed, wait(ctx, kept))
}

// isNews reports whether something says more than that a server is there, or is not.
func isNews(p cluster.Publication) bool {
	return p.Type != cluster.InitialHeartbeat && p.Type != cluster.Heartbeat && p.Type != cluster.Close
}

// wait waits until the server has taken everything.
func wait(ctx context.Context, acks []jetstream.PubAckFuture) error {
	var failed error
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			failed = fmt.Errorf("nats: %w", err)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return failed
}

// makeStreams makes the streams, unless they are known to be there.
func (e *logEngine) makeStreams(ctx context.Context) error {
	e.ready.Lock()
	defer e.ready.Unlock()
	if e.made {
		return nil
	}
	storage := jetstream.FileStorage
	if e.log.InMemory {
		storage = jetstream.MemoryStorage
	}
	for _, config := range []jetstream.StreamConfig{
		{
			Name: e.log.Stream, Subjects: []string{e.options.Prefix + ".log.>"}, Storage: storage, Replicas: e.log.Replicas,
			MaxAge: e.log.MaxAge, MaxMsgs: e.log.MaxMessages, MaxBytes: e.log.MaxBytes, Discard: jetstream.DiscardOld,
			Description: "events of Upshift",
		},
		{
			Name: e.states(), Subjects: []string{e.options.Prefix + ".state.>"}, Storage: storage, Replicas: e.log.Replicas,
			MaxAge: e.log.MaxAge, MaxMsgsPerSubject: 1, MaxBytes: e.log.MaxBytes, Discard: jetstream.DiscardOld, AllowDirect: false,
			Description: "what clients of Upshift come back to",
		},
	} {
		_, err := e.js.CreateStream(ctx, config)
		if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return fmt.Errorf("nats: stream %s: %w", config.Name, err)
		}
	}
	e.made = true
	return nil
}

func (e *logEngine) states() string { return e.log.Stream + "_states" }

// unmade has the streams looked for again.
func (e *logEngine) unmade() {
	e.ready.Lock()
	defer e.ready.Unlock()
	e.made = false
}

// offset is the place of a message: which stream it is, by when it was made, and the
// sequence in it.
func offset(created time.Time, sequence uint64) core.Offset {
	return core.Offset{Major: uint64(created.UnixMilli()), Minor: sequence}
}
