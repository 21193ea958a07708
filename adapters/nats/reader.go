package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/upshift-go/upshift/adapters/cluster"
	"github.com/upshift-go/upshift/core"
)

var (
	errTrimmed = errors.New("nats: events were dropped from the stream before they were read")
	errReset   = errors.New("nats: the stream is not the one that was read before")
	errSkipped = errors.New("nats: the server has skipped a message")
	errLeaving = errors.New("nats: the server is leaving")
)

// answerTime is how long the server may take for what it can answer at once.
const answerTime = 5 * time.Second

// A reader hands on the messages of the stream, in their order, on a goroutine of its
// own.
type reader struct {
	engine *logEngine
	ctx    context.Context //nolint:containedctx // of everything until Close
	cancel context.CancelFunc
	begun  chan struct{} // closed when position is set

	leaving chan struct{} // closed when the server is about to leave

	mu       sync.Mutex // guards position
	position core.Offset
}

func (r *reader) init(e *logEngine) {
	r.engine = e
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.begun, r.leaving = make(chan struct{}), make(chan struct{})
}

// ready waits until it is known from where on is read: what is sent before that would
// not come. It does not wait any longer when leaving is closed.
func (r *reader) ready(ctx context.Context, leaving <-chan struct{}) error {
	select {
	case <-r.begun:
		return nil
	default:
	}
	select {
	case <-r.begun:
		return nil
	case <-leaving:
		return errLeaving
	case <-ctx.Done():
		return fmt.Errorf("nats: the stream is not read yet: %w", context.Cause(ctx))
	}
}

// Position implements cluster.Log.
func (e *logEngine) Position() core.Offset {
	e.reader.mu.Lock()
	defer e.reader.mu.Unlock()
	return e.reader.position
}

func (r *reader) move(to core.Offset) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.position = to
}

// run reads until the engine is closed, through failures.
func (r *reader) run() {
	logger := r.engine.in.Logger()
	failing := false
	for attempt := 1; r.ctx.Err() == nil; attempt++ {
		err := r.follow(func() {
			if failing {
				logger.InfoContext(r.ctx, "the stream is read again")
			}
			failing, attempt = false, 0
		})
		if r.ctx.Err() != nil {
			return
		}
		if !failing {
			logger.WarnContext(r.ctx, "the stream of other servers cannot be read", slog.Any("error", err))
		}
		failing = true
		select {
		case <-time.After(min(time.Duration(attempt)*reconnectWait, answerTime) + jitter(reconnectWait)):
		case <-r.ctx.Done():
		}
	}
}

// follow reads until something fails. It calls up when all is well.
func (r *reader) follow(up func()) error {
	messages, err := r.begin()
	if err != nil {
		r.engine.unmade()
		return err
	}
	defer messages.Stop()
	up()
	for expected := uint64(1); ; expected++ {
		m, err := messages.Next(jetstream.NextContext(r.ctx))
		if err != nil {
			return fmt.Errorf("nats: %w", err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("nats: %w", err)
		}
		if meta.Sequence.Consumer != expected {
			return errSkipped
		}
		at := r.engine.Position()
		if meta.Sequence.Stream != at.Minor+1 {
			r.engine.in.Gap(errTrimmed)
		}
		at.Minor = meta.Sequence.Stream
		r.handOn(m, at)
		r.move(at)
	}
}

// begin finds out from where to read, from where reading has ended or else from the
// end of the stream, and begins.
func (r *reader) begin() (jetstream.MessagesContext, error) {
	ctx, cancel := context.WithTimeout(r.ctx, answerTime)
	defer cancel()
	e := r.engine
	if err := e.makeStreams(ctx); err != nil {
		return nil, err
	}
	stream, err := e.js.Stream(ctx, e.log.Stream)
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	info := stream.CachedInfo()
	end, position := offset(info.Created, info.State.LastSeq), e.Position()
	switch {
	case position.IsZero():
		r.move(end)
		close(r.begun)
	case position.Major != end.Major || position.Minor > end.Minor:
		r.move(end)
		e.in.Gap(errReset)
	}
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: e.Position().Minor + 1,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	messages, err := consumer.Messages(jetstream.PullHeartbeat(answerTime), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	return messages, nil
}

// handOn passes a message to the cluster, with its offset if clients are told it.
func (r *reader) handOn(m jetstream.Msg, at core.Offset) {
	message, err := cluster.ReadMessage(m.Data())
	if err != nil {
		r.engine.in.Malformed(m.Subject(), err)
		return
	}
	if !isKept(message) {
		return
	}
	if message.Type == cluster.Broadcast && !message.Flags.Volatile {
		message.Offset = at
	}
	message.Nonce = m.Headers().Get(nonceHeader)
	r.engine.in.Receive(message)
}
