package nbd

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// The protocol's numbers, from doc/proto.md.
const (
	magicInit    = 0x4e42444d41474943 // "NBDMAGIC"
	magicOption  = 0x49484156454f5054 // "IHAVEOPT"
	magicReply   = 0x3e889045565a9
	magicRequest = 0x25609513
	magicAnswer  = 0x67446698

	flagFixedNewstyle = 1 << 0
	flagNoZeroes      = 1 << 1

	optExportName = 1
	optAbort      = 2
	optInfo       = 6
	optGo         = 7

	repAck         = 1
	repInfo        = 3
	repUnsupported = 1<<31 | 1

	infoExport = 0

	exportFlags = 1<<0 | 1<<2 | 1<<3 // has flags, flush, FUA

	cmdRead  = 0
	cmdWrite = 1
	cmdClose = 2
	cmdFlush = 3
	cmdFUA   = 1 << 0 // a command's flag

	errnoIO      = 5
	errnoInvalid = 22

	maxPayload = 32 << 20
)

// Serve serves the disk to who connects, one machine at a time being usual, until the context ends (nil) or the
// listener fails. It closes the listener and every connection before it returns.
func (d *Disk) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		<-ctx.Done()
		l.Close()
	})
	defer running.Wait()
	defer cancel()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		running.Go(func() {
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			defer conn.Close()
			_ = d.serve(conn) // how a connection ends is the machine's affair
		})
	}
}

// wire is one connection; a write's first error is kept, and ends it.
type wire struct {
	in  *bufio.Reader
	out *bufio.Writer
}

func (w *wire) put(values ...any) error {
	for _, v := range values {
		if err := binary.Write(w.out, binary.BigEndian, v); err != nil {
			return err
		}
	}
	return nil
}

func (d *Disk) serve(conn net.Conn) error {
	w := &wire{bufio.NewReaderSize(conn, 64<<10), bufio.NewWriterSize(conn, 64<<10)}
	if err := d.greet(w); err != nil {
		return err
	}
	for {
		if err := d.request(w); err != nil {
			return err
		}
	}
}

// greet is the handshake up to the transmission phase.
func (d *Disk) greet(w *wire) error {
	if err := w.put(uint64(magicInit), uint64(magicOption), uint16(flagFixedNewstyle|flagNoZeroes)); err != nil {
		return err
	}
	if err := w.out.Flush(); err != nil {
		return err
	}
	var flags uint32
	if err := binary.Read(w.in, binary.BigEndian, &flags); err != nil {
		return err
	}
	for {
		var head struct {
			Magic    uint64
			Option   uint32
			Received uint32
		}
		if err := binary.Read(w.in, binary.BigEndian, &head); err != nil {
			return err
		}
		if head.Magic != magicOption || head.Received > 64<<10 {
			return fmt.Errorf("this is no option: %x", head.Magic)
		}
		if _, err := w.in.Discard(int(head.Received)); err != nil {
			return err
		}
		reply := func(kind uint32, data ...any) error {
			length := 0
			for _, v := range data {
				length += binary.Size(v)
			}
			return w.put(append([]any{uint64(magicReply), head.Option, kind, uint32(length)}, data...)...)
		}
		var err error
		begin := false
		switch head.Option {
		case optExportName:
			err, begin = w.put(uint64(d.size), uint16(exportFlags)), true
			if err == nil && flags&flagNoZeroes == 0 {
				err = w.put(make([]byte, 124))
			}
		case optInfo, optGo:
			begin = head.Option == optGo
			if err = reply(repInfo, uint16(infoExport), uint64(d.size), uint16(exportFlags)); err == nil {
				err = reply(repAck)
			}
		case optAbort:
			return errors.Join(reply(repAck), w.out.Flush(), io.EOF)
		default:
			err = reply(repUnsupported)
		}
		if err = errors.Join(err, w.out.Flush()); err != nil || begin {
			return err
		}
	}
}

// request serves one command.
func (d *Disk) request(w *wire) error {
	var head struct {
		Magic  uint32
		Flags  uint16
		Type   uint16
		Cookie uint64
		Offset uint64
		Length uint32
	}
	if err := binary.Read(w.in, binary.BigEndian, &head); err != nil {
		return err
	}
	if head.Magic != magicRequest || head.Length > maxPayload {
		return fmt.Errorf("this is no request: %+v", head)
	}
	var data []byte
	if head.Type == cmdRead || head.Type == cmdWrite {
		data = make([]byte, head.Length)
	}
	if head.Type == cmdWrite {
		if _, err := io.ReadFull(w.in, data); err != nil {
			return err
		}
	}
	inside := head.Offset <= uint64(d.size) && uint64(head.Length) <= uint64(d.size)-head.Offset
	code := uint32(0)
	var failed error
	switch {
	case head.Type == cmdClose:
		return io.EOF
	case head.Type == cmdFlush:
		failed = d.sync()
	case head.Type > cmdFlush || !inside:
		code = errnoInvalid
	case head.Type == cmdRead:
		failed = d.readAt(data, int64(head.Offset))
	default:
		failed = d.writeAt(data, int64(head.Offset), head.Flags&cmdFUA != 0)
	}
	if errors.Is(failed, errNoPower) {
		return failed // a machine without power hears nothing any more, least of all an error
	}
	if failed != nil {
		code = errnoIO
	}
	if err := w.put(uint32(magicAnswer), code, head.Cookie); err != nil {
		return err
	}
	if head.Type == cmdRead && code == 0 {
		if _, err := w.out.Write(data); err != nil {
			return err
		}
	}
	if w.in.Buffered() > 0 {
		return nil // more requests are here already: answer them together
	}
	return w.out.Flush()
}
