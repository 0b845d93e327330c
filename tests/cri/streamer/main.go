// streamer speaks to a CRI streaming server with Kubernetes' own client code. tests/cri/streaming.rs runs it.
//
//	streamer command [-protocol P] [-stdin] [-tty] [-no-stderr] [-columns N] [-resizes N] URL
//	streamer forward [-protocol P] [-half-close] [-connections N] URL PORT...
//
// A command's status is the exit status; 125: it failed, and the error is on standard error. forward sends its standard input
// to each port and prints what comes back, after that what the error stream said, after "error: ".
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"
)

const failed = 125

func main() {
	if len(os.Args) < 2 {
		fail(errors.New("command or forward?"))
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	protocol := flags.String("protocol", "spdy", "spdy, spdy:NAME, websocket or websocket:NAME")
	var err error
	switch os.Args[1] {
	case "command":
		stdin := flags.Bool("stdin", false, "send standard input")
		tty := flags.Bool("tty", false, "a terminal")
		noStderr := flags.Bool("no-stderr", false, "open no stream for errors")
		columns := flags.Int("columns", 0, "send one size, of so many columns and 24 rows")
		resizes := flags.Int("resizes", 0, "send as many sizes, the last one N columns of 24 rows")
		_ = flags.Parse(os.Args[2:])
		err = command(*protocol, flags.Arg(0), *stdin, *tty, !*noStderr && !*tty, sizes{max(*columns-1, 0), max(*columns, *resizes)})
	case "forward":
		halfClose := flags.Bool("half-close", false, "end the stream after standard input")
		connections := flags.Int("connections", 1, "how many at a time to each port")
		_ = flags.Parse(os.Args[2:])
		err = forward(*protocol, flags.Arg(0), flags.Args()[1:], *halfClose, *connections)
	default:
		err = fmt.Errorf("no %s", os.Args[1])
	}
	var code exec.CodeExitError
	if errors.As(err, &code) {
		os.Exit(code.Code)
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(failed)
}

// sizes is a terminal whose size changes often.
type sizes struct{ sent, all int }

func (s *sizes) Next() *remotecommand.TerminalSize {
	if s.sent == s.all {
		return nil
	}
	s.sent++
	return &remotecommand.TerminalSize{Width: uint16(s.sent), Height: 24}
}

func command(protocol, address string, stdin, tty, stderr bool, terminal sizes) error {
	executor, err := executor(protocol, address)
	if err != nil {
		return err
	}
	options := remotecommand.StreamOptions{Stdout: os.Stdout, Tty: tty}
	if stdin {
		options.Stdin = os.Stdin
	}
	if stderr {
		options.Stderr = os.Stderr
	}
	if terminal.all > 0 {
		options.TerminalSizeQueue = &terminal
	}
	return executor.StreamWithContext(context.Background(), options)
}

func executor(protocol, address string) (remotecommand.Executor, error) {
	kind, name, named := strings.Cut(protocol, ":")
	config := &rest.Config{}
	if kind == "websocket" {
		if named {
			return remotecommand.NewWebSocketExecutorForProtocols(config, "GET", address, name)
		}
		return remotecommand.NewWebSocketExecutor(config, "GET", address)
	}
	to, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	if !named {
		return remotecommand.NewSPDYExecutor(config, "POST", to)
	}
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	return remotecommand.NewSPDYExecutorForProtocols(transport, upgrader, "POST", to, name)
}

func forward(protocol, address string, ports []string, halfClose bool, connections int) error {
	to, err := url.Parse(address)
	if err != nil {
		return err
	}
	dialer, err := dialer(protocol, to)
	if err != nil {
		return err
	}
	connection, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return err
	}
	defer connection.Close()
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	for _, port := range ports {
		var group sync.WaitGroup
		outputs := make([]bytes.Buffer, connections)
		for i := range connections {
			group.Go(func() {
				if err := pair(connection, port, input, halfClose, &outputs[i]); err != nil {
					fmt.Fprintf(&outputs[i], "failed: %v", err)
				}
			})
		}
		group.Wait()
		for i := range outputs {
			fmt.Printf("%s\n", outputs[i].Bytes())
		}
	}
	return nil
}

func dialer(protocol string, to *url.URL) (httpstream.Dialer, error) {
	config := &rest.Config{}
	if protocol == "websocket" {
		return portforward.NewSPDYOverWebsocketDialerForStreaming(to, config)
	}
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	return spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, "POST", to), nil
}

var requests atomic.Int64

func pair(connection httpstream.Connection, port string, input []byte, halfClose bool, output io.Writer) error {
	headers := http.Header{}
	headers.Set("port", port)
	headers.Set("requestID", strconv.FormatInt(requests.Add(1), 10))
	headers.Set("streamType", "error")
	problems, err := connection.CreateStream(headers)
	if err != nil {
		return err
	}
	problems.Close()
	headers.Set("streamType", "data")
	data, err := connection.CreateStream(headers)
	if err != nil {
		return err
	}
	go func() {
		_, _ = data.Write(input)
		if halfClose {
			data.Close()
		}
	}()
	if _, err := io.Copy(output, data); err != nil {
		return err
	}
	_ = data.Reset()
	said, err := io.ReadAll(problems)
	if len(said) > 0 {
		fmt.Fprintf(output, "error: %s", said)
	}
	return err
}
