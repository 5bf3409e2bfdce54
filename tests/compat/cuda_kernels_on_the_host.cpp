// mmcv's CUDA kernels of ops that it has no CPU version of, run by one thread of the host.
//
// compare_with_compiled.py compiles this with the folders csrc/common and csrc/common/cuda of mmcv
// in the include path. The guards below keep the kernels' own includes, which need CUDA, out.
#define PYTORCH_CUDA_HELPER
#define COMMON_CUDA_HELPER
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __shared__
#define CUDA_1D_KERNEL_LOOP(i, n) for (int i = 0; i < (n); ++i)

struct Index {
  unsigned int x;
};
static const Index threadIdx = {0}, blockDim = {1};
static void __syncthreads() {}
template <typename T>
void atomicAdd(T* address, T value) {
  *address += value;
}
using std::max;

#include "ms_deform_attn_cuda_kernel.cuh"
#include "sigmoid_focal_loss_cuda_kernel.cuh"

extern "C" {
void focal_loss_forward(int n, int classes, const float* input, const int64_t* target,
                        const float* weight, float* output, float gamma, float alpha) {
  sigmoid_focal_loss_forward_cuda_kernel<float>(n, input, target, weight, output, gamma, alpha,
                                                classes);
}
void focal_loss_backward(int n, int classes, const float* input, const int64_t* target,
                         const float* weight, float* grad, float gamma, float alpha) {
  sigmoid_focal_loss_backward_cuda_kernel<float>(n, input, target, weight, grad, gamma, alpha,
                                                 classes);
}
void attention_forward(const int64_t* sizes, const float* value, const int64_t* shapes,
                       const int64_t* starts, const float* locations, const float* weights,
                       float* output) {
  // batch, size, heads, channels, levels, queries, points
  const int64_t* s = sizes;
  ms_deformable_im2col_gpu_kernel<float>(s[0] * s[5] * s[2] * s[3], value, shapes, starts,
                                         locations, weights, s[0], s[1], s[2], s[3], s[4], s[5],
                                         s[6], output);
}
void attention_backward(const int64_t* sizes, const float* grad, const float* value,
                        const int64_t* shapes, const int64_t* starts, const float* locations,
                        const float* weights, float* grad_value, float* grad_locations,
                        float* grad_weights) {
  const int64_t* s = sizes;
  ms_deformable_col2im_gpu_kernel_gm<float>(s[0] * s[5] * s[2] * s[3], grad, value, shapes, starts,
                                            locations, weights, s[0], s[1], s[2], s[3], s[4], s[5],
                                            s[6], grad_value, grad_locations, grad_weights);
}
}
