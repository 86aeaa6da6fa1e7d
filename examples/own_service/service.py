"""A small HTTP service that knows nothing of edgewright: shortest paths for a robot in a warehouse.

`python service.py --port 8300`, then GET /path?from=0,0&to=40,40 and GET /healthz. Standard library only.
"""

import argparse
import heapq
import json
import random
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

SIDE = 48


def warehouse(seed: int) -> list[list[int]]:
    """Cost of crossing each cell; 9 is a shelf's edge, 1 an aisle."""
    draw = random.Random(seed)
    return [[draw.choice((1, 1, 1, 2, 9)) for _ in range(SIDE)] for _ in range(SIDE)]


def shortest_path(cost: list[list[int]], start: tuple[int, int], goal: tuple[int, int]) -> tuple[int, list[list[int]]]:
    """Dijkstra on the grid -> total cost, cells from start to goal."""
    best, previous, queue = {start: 0}, {start: start}, [(0, start)]
    while queue:
        total, cell = heapq.heappop(queue)
        if cell == goal:
            break
        if total > best[cell]:
            continue
        row, column = cell
        for near in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
            if 0 <= near[0] < SIDE and 0 <= near[1] < SIDE:
                through = total + cost[near[0]][near[1]]
                if through < best.get(near, through + 1):
                    best[near], previous[near] = through, cell
                    heapq.heappush(queue, (through, near))
    path = [goal]
    while path[-1] != start:
        path.append(previous[path[-1]])
    return best[goal], [list(cell) for cell in reversed(path)]


def cell(text: str) -> tuple[int, int]:
    row, column = (int(part) for part in text.split(","))
    if not (0 <= row < SIDE and 0 <= column < SIDE):
        raise ValueError(f"{text} is outside the {SIDE} x {SIDE} grid")
    return row, column


class Handler(BaseHTTPRequestHandler):
    cost = warehouse(seed=7)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/healthz":
            return self.answer(200, {"status": "ok"})
        if url.path != "/path":
            return self.answer(404, {"error": "only /path and /healthz"})
        try:
            query = parse_qs(url.query)
            total, path = shortest_path(self.cost, cell(query["from"][0]), cell(query["to"][0]))
        except (KeyError, ValueError) as error:
            return self.answer(400, {"error": f"/path?from=ROW,COLUMN&to=ROW,COLUMN ({error})"})
        return self.answer(200, {"cost": total, "path": path})

    def answer(self, status: int, body: dict[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8300)
    ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Handler).serve_forever()
