#pragma once
// The functions that the files of one instruction set offer to its table (table.cpp).

#include "kernels/cpu/isa/vec.h"
#include "kernels/cpu/kernels.h"

namespace inazuma::INAZUMA_ISA {

constexpr int kPanel = 2 * W;

void linear(const LinearJob& job, int64_t first_row, int64_t rows, int64_t first_panel, int64_t last_panel,
            LinearScratch& scratch);
int64_t linear_scratch(int64_t rows, int64_t in);
constexpr int64_t kLinearRows = 112;

/// The same on AMX tiles (linear_tiles.cpp; AVX-512 alone has it).
void linear_tiles(const LinearJob& job, int64_t first_row, int64_t rows, int64_t first_panel, int64_t last_panel,
                  LinearScratch& scratch);
int64_t linear_tiles_scratch(int64_t rows, int64_t in);
constexpr int64_t kLinearTilesRows = 144;

void norm(const NormJob& job, int64_t first_row, int64_t last_row);
void attend(const AttendJob& job);
int64_t attend_scratch(int64_t keys, int64_t head_dim);

}  // namespace inazuma::INAZUMA_ISA
