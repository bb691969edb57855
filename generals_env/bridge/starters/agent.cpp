// A starting point for an agent in C++17: the best capture next to own land, else the largest army to the enemy.
// It speaks the line protocol of the competition. Change choose().
#include <cstdio>
#include <queue>
#include <utility>
#include <vector>

enum Kind { FOG, PLAIN, MOUNTAIN, CASTLE, GENERAL, FOG_OBSTACLE };
enum Owner { NEUTRAL, OWN, ENEMY };

const int DOWN[] = {-1, 1, 0, 0}, RIGHT[] = {0, 0, -1, 1};  // up, down, left, right

struct Reply {
    int pass = 1, row = 0, column = 0, direction = 0, split = 0;  // pass: 0 moves, 1 skips, 2 builds a castle
};

struct Board {
    int height = 0, width = 0;
    std::vector<int> kind, owner, army;

    // The tile next to another one, -1 beyond the edge.
    int next(int tile, int direction) const {
        int row = tile / width + DOWN[direction], column = tile % width + RIGHT[direction];
        return row < 0 || row >= height || column < 0 || column >= width ? -1 : row * width + column;
    }
};

Reply move(const Board& board, int tile, int direction) { return {0, tile / board.width, tile % board.width, direction, 0}; }

// The first step of the shortest way over own land from a tile to the enemy, else to neutral land.
Reply walk(const Board& board, int start) {
    std::vector<int> first(board.kind.size(), -1);
    std::queue<int> waiting;
    Reply nearest;
    waiting.push(start);
    while (!waiting.empty()) {
        int tile = waiting.front();
        waiting.pop();
        for (int direction = 0; direction < 4; direction++) {
            int target = board.next(tile, direction);
            if (target < 0 || target == start || first[target] >= 0) continue;
            if (board.kind[target] == MOUNTAIN || board.kind[target] == FOG_OBSTACLE) continue;
            first[target] = tile == start ? direction : first[tile];
            if (board.owner[target] == ENEMY) return move(board, start, first[target]);
            if (board.owner[target] == OWN) waiting.push(target);
            else if (nearest.pass == 1) nearest = move(board, start, first[target]);
        }
    }
    return nearest;
}

Reply choose(const Board& board) {
    int strongest = -1;
    std::pair<int, int> best{0, 0};  // value, army
    Reply reply;
    for (int tile = 0; tile < (int)board.kind.size(); tile++) {
        if (board.owner[tile] != OWN || board.army[tile] < 2) continue;
        if (strongest < 0 || board.army[tile] > board.army[strongest]) strongest = tile;
        for (int direction = 0; direction < 4; direction++) {
            int target = board.next(tile, direction);
            if (target < 0 || board.kind[target] == MOUNTAIN || board.owner[target] == OWN) continue;
            if (board.army[tile] - 1 <= board.army[target]) continue;
            bool built = board.kind[target] == CASTLE || board.kind[target] == GENERAL;
            std::pair<int, int> value{board.owner[target] == NEUTRAL ? 1 : built ? 3 : 2, board.army[tile]};
            if (value > best) {
                best = value;
                reply = move(board, tile, direction);
            }
        }
    }
    return best.first == 0 && strongest >= 0 ? walk(board, strongest) : reply;
}

bool read(std::vector<int>& values) {
    for (int& value : values)
        if (std::scanf("%d", &value) != 1) return false;
    return true;
}

int main() {
    Board board;
    int player;
    if (std::scanf("%d %d %d", &player, &board.height, &board.width) != 3) return 0;
    board.kind.resize(board.height * board.width);
    board.owner = board.army = board.kind;
    std::vector<int> totals(5);  // time, own land and army, the other's land and army
    while (read(totals) && read(board.kind) && read(board.owner) && read(board.army)) {
        Reply reply = choose(board);
        std::printf("%d %d %d %d %d\n", reply.pass, reply.row, reply.column, reply.direction, reply.split);
        std::fflush(stdout);
    }
}
