"""A receiver of traces over OTLP/gRPC: gRPC's own server, with the messages and the service that OpenTelemetry publishes.

Each span that arrives becomes a line of JSON on standard output. Started with the address to listen on.
"""

import json
import sys
import threading
from concurrent import futures

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

WRITING = threading.Lock()


def values(attributes):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    def Export(self, request, context):
        for of_process in request.resource_spans:
            resource = values(of_process.resource.attributes)
            for of_scope in of_process.scope_spans:
                for span in of_scope.spans:
                    line = {
                        "trace": span.trace_id.hex(),
                        "span": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "name": span.name,
                        "kind": trace_pb2.Span.SpanKind.Name(span.kind),
                        "scope": of_scope.scope.name,
                        "resource": resource,
                        "values": values(span.attributes),
                        "failed": span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
                        "start": span.start_time_unix_nano,
                        "end": span.end_time_unix_nano,
                    }
                    with WRITING:
                        print(json.dumps(line), flush=True)
        return trace_service_pb2.ExportTraceServiceResponse()


server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Receiver(), server)
server.add_insecure_port(sys.argv[1])
server.start()
print("{}", flush=True)
server.wait_for_termination()
